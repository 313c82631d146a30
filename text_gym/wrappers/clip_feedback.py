"""Feedback within bounds: `ClipFeedback`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from text_gym.task import Observation
from text_gym.wrappers.reward_rule import EpisodeRule, Finished, Payment, changed
from text_gym.wrappers.rule_wrapper import RuleWrapper


class ClipRule(EpisodeRule):
    """Clips the feedback to [low, high].

    Raises:
        ValueError: If `low` is not below `high`.
    """

    def __init__(self, low: float = -np.inf, high: float = np.inf, name: str = "clip") -> None:
        if not low < high:
            raise ValueError(f"low must be below high, got {low}, {high}")
        self.low, self.high = low, high
        self.name = name

    def pay(self, finished: Finished) -> Payment:
        """Returns the clipped feedback."""
        return changed(self.name, finished, np.clip(finished.rewards, self.low, self.high))


class ClipFeedback(RuleWrapper):
    """Clips the feedback on finished texts to [low, high].

    Unlike Gymnasium's `ClipReward` it leaves the steps before the end alone, and reports what it
    cut off.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        low: Least feedback.
        high: Most feedback.
        name: Under which `info["reward_components"]` has the change.

    Raises:
        ValueError: If `low` is not below `high`.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.wrappers import ClipFeedback
        >>> env = ClipFeedback(gym.make("TextGen-v0", max_new_tokens=2), high=1.0)
        >>> _ = env.reset(seed=0)
        >>> [env.step(word)[1] for word in env.unwrapped.tokenizer.encode("fine thanks")]
        [0.0, 1.0]
    """

    def __init__(
        self,
        env: gym.Env[Observation, Any],
        low: float = -np.inf,
        high: float = np.inf,
        name: str = "clip",
    ) -> None:
        super().__init__(env, ClipRule, low=low, high=high, name=name)
