"""`ChunkedFeedback` for vector environments; its meaning is `ChunkRule`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.rewards import RewardFunction
from text_gym.task import Observation
from text_gym.wrappers.chunked_feedback import ChunkRule
from text_gym.wrappers.feedback import Mode
from text_gym.wrappers.vector.rule_wrapper import RuleWrapper


class ChunkedFeedback(RuleWrapper):
    """Pays the feedback in instalments: what the text gained with every chunk of tokens.

    The reward function is called once per step, on the texts whose chunk or whole is complete.

    Arguments and errors are those of `text_gym.wrappers.ChunkedFeedback`.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        reward_function: RewardFunction | Callable[[str, str], float],
        every: int,
        mode: Mode = "replace",
        weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(
            env,
            ChunkRule,
            reward_function=reward_function,
            every=every,
            mode=mode,
            weight=weight,
            name=name,
        )
