"""`OverlongPenalty` for vector environments; its meaning is `OverlongRule`."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.overlong_penalty import OverlongRule
from text_gym.wrappers.vector.rule_wrapper import RuleWrapper


class OverlongPenalty(RuleWrapper):
    """Punishes finished texts that come close to a number of tokens, or exceed it.

    Arguments and errors are those of `text_gym.wrappers.OverlongPenalty`.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        max_tokens: int,
        buffer: int,
        weight: float = 1.0,
        name: str = "overlong",
    ) -> None:
        super().__init__(
            env, OverlongRule, max_tokens=max_tokens, buffer=buffer, weight=weight, name=name
        )
