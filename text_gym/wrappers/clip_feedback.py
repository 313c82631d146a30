"""Feedback within bounds: `ClipFeedback`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.reward_transform import EpisodeTransform, Finished, RewardUpdate, changed
from text_gym.wrappers.transform_wrapper import TransformWrapper
from text_gym.wrappers.vector_transform_wrapper import VectorTransformWrapper


class ClipTransform(EpisodeTransform):
    """Clips the feedback to [low, high].

    Raises:
        ValueError: If `low` is not below `high`.
    """

    def __init__(self, low: float = -np.inf, high: float = np.inf, name: str = "clip") -> None:
        if not low < high:
            raise ValueError(f"low must be below high, got {low}, {high}")
        self.low, self.high = low, high
        self.name = name

    def apply(self, finished: Finished) -> RewardUpdate:
        """Returns the clipped feedback."""
        return changed(self.name, finished, np.clip(finished.rewards, self.low, self.high))


class ClipFeedback(TransformWrapper):
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
        super().__init__(env, ClipTransform, low=low, high=high, name=name)


class VectorClipFeedback(VectorTransformWrapper):
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
        super().__init__(env, ClipTransform, low=low, high=high, name=name)
