"""`Feedback` for vector environments; its meaning is `text_gym.wrappers.feedback.FeedbackRule`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.rewards import RewardFunction
from text_gym.task import Observation
from text_gym.wrappers.feedback import FeedbackRule, Mode
from text_gym.wrappers.vector.rule_wrapper import RuleWrapper


class Feedback(RuleWrapper):
    """Pays finished texts by another reward function, or by one more.

    The function is called once per step, on the texts that ended, under every autoreset mode.

    Args:
        env: A vector environment that reports `infos["text_episode"]`.
        reward_function: A `RewardFunction` or a plain `fn(prompt, completion) -> float`.
        mode: `"replace"` or `"add"`.
        weight: What the feedback is multiplied by.
        name: Its name in `infos["reward_components"]`.

    Raises:
        ValueError, TypeError: As `FeedbackRule` does.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        reward_function: RewardFunction | Callable[[str, str], float],
        mode: Mode = "replace",
        weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(
            env,
            FeedbackRule,
            reward_function=reward_function,
            mode=mode,
            weight=weight,
            name=name,
        )
