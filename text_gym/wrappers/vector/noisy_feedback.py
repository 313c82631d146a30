"""`NoisyFeedback` for vector environments; its meaning is `NoiseRule`."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.noisy_feedback import NoiseRule
from text_gym.wrappers.vector.rule_wrapper import RuleWrapper


class NoisyFeedback(RuleWrapper):
    """Makes the feedback on finished texts unreliable.

    Row i draws what a single environment seeded with s + i draws.

    Arguments and errors are those of `text_gym.wrappers.NoisyFeedback`.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        std: float = 0.0,
        flip: float = 0.0,
        replace: float = 0.0,
        low: float = 0.0,
        high: float = 1.0,
        name: str = "noise",
    ) -> None:
        super().__init__(
            env,
            NoiseRule,
            std=std,
            flip=flip,
            replace=replace,
            low=low,
            high=high,
            name=name,
        )
