"""`DelayedFeedback` for vector environments; its meaning is `DelayRule`."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.delayed_feedback import DelayRule
from text_gym.wrappers.vector.rule_wrapper import RuleWrapper


class DelayedFeedback(RuleWrapper):
    """Pays the feedback on each finished text `episodes` finished texts later, in the same row.

    Arguments and errors are those of `text_gym.wrappers.DelayedFeedback`.
    """

    def __init__(
        self, env: VectorEnv[Observation, Any, NDArray[Any]], episodes: int, name: str = "delay"
    ) -> None:
        super().__init__(env, DelayRule, episodes=episodes, name=name)
