"""`ClipFeedback` for vector environments; its meaning is `ClipRule`."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.clip_feedback import ClipRule
from text_gym.wrappers.vector.rule_wrapper import RuleWrapper


class ClipFeedback(RuleWrapper):
    """Clips the feedback on finished texts to [low, high].

    Arguments and errors are those of `text_gym.wrappers.ClipFeedback`.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        low: float = -np.inf,
        high: float = np.inf,
        name: str = "clip",
    ) -> None:
        super().__init__(env, ClipRule, low=low, high=high, name=name)
