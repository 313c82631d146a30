"""Feedback on some texts only: `SparseFeedback`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.reward_transform import Finished, RandomTransform, RewardUpdate, changed
from text_gym.wrappers.transform_wrapper import TransformWrapper
from text_gym.wrappers.vector_transform_wrapper import VectorTransformWrapper


class SparseTransform(RandomTransform):
    """Pays each finished text with probability `fraction`, independently, and else 0.

    Raises:
        ValueError: If `fraction` is not in [0, 1].
    """

    def __init__(self, fraction: float, name: str = "sparse") -> None:
        super().__init__(name)
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction must be in [0, 1], got {fraction}")
        self.fraction = fraction

    def apply(self, finished: Finished) -> RewardUpdate:
        """Returns the feedback or 0, and which as `info["feedback_given"]`."""
        draws = np.array([self.streams[row].random() for row in finished.rows.tolist()])
        given = draws < self.fraction
        rewards = np.where(given, finished.rewards, 0.0)
        return changed(self.name, finished, rewards, feedback_given=given)


class SparseFeedback(TransformWrapper):
    """Pays only a random fraction of the finished texts.

    `info["feedback_given"]` tells a text that was worth 0 from one that nobody looked at. Expected
    returns shrink by `fraction`; wrap in `Feedback` or `TransformReward` to scale them back.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        fraction: Probability that a text is paid.
        name: Under which `info["reward_components"]` has the change; wrappers of different names
            draw independently.

    Raises:
        ValueError: If `fraction` is not in [0, 1].

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.wrappers import SparseFeedback
        >>> env = SparseFeedback(gym.make("TextGen-v0"), fraction=0.0)
        >>> _ = env.reset(seed=0)
        >>> _ = env.step(env.unwrapped.tokenizer.encode("fine")[0])
        >>> _, reward, *_, info = env.step(env.unwrapped.tokenizer.eos_token_id)
        >>> info["reward_components"], info["feedback_given"]
        ({'word_count': 1.0, 'sparse': -1.0}, False)
    """

    def __init__(
        self, env: gym.Env[Observation, Any], fraction: float, name: str = "sparse"
    ) -> None:
        super().__init__(env, SparseTransform, fraction=fraction, name=name)


class VectorSparseFeedback(VectorTransformWrapper):
    """Pays only a random fraction of the finished texts.

    Row i draws what a single environment seeded with s + i draws.

    Arguments and errors are those of `text_gym.wrappers.SparseFeedback`.
    """

    def __init__(
        self, env: VectorEnv[Observation, Any, NDArray[Any]], fraction: float, name: str = "sparse"
    ) -> None:
        super().__init__(env, SparseTransform, fraction=fraction, name=name)
