"""Unreliable labels: `NoisyFeedback`."""

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


class NoiseTransform(RandomTransform):
    """Flips or replaces the feedback now and then, and adds Gaussian noise.

    Three numbers are drawn for every finished text, whatever the arguments, so that runs of the
    same seed at different levels of noise see the same noise, scaled.

    Raises:
        ValueError: If `std` is negative or not finite, `flip` and `replace` are not probabilities
            of at most 1 in sum, or `low` is above `high`.
    """

    def __init__(
        self,
        std: float = 0.0,
        flip: float = 0.0,
        replace: float = 0.0,
        low: float = 0.0,
        high: float = 1.0,
        name: str = "noise",
    ) -> None:
        super().__init__(name)
        if not 0 <= std < np.inf:
            raise ValueError(f"std must be at least 0 and finite, got {std}")
        if not (flip >= 0 and replace >= 0 and flip + replace <= 1):
            raise ValueError(
                f"flip and replace must be at least 0 and sum to at most 1, got {flip}, {replace}"
            )
        if not -np.inf < low <= high < np.inf:
            raise ValueError(f"low must be at most high, both finite, got {low}, {high}")
        self.std, self.flip, self.replace = std, flip, replace
        self.low, self.high = low, high

    def apply(self, finished: Finished) -> RewardUpdate:
        """Returns the noisy feedback."""
        streams = [self.streams[row] for row in finished.rows.tolist()]
        draws = [(s.random(), s.uniform(self.low, self.high), s.standard_normal()) for s in streams]
        chance, uniform, normal = np.array(draws).T
        replaced = np.where(chance < self.flip + self.replace, uniform, finished.rewards)
        labels = np.where(chance < self.flip, self.low + self.high - finished.rewards, replaced)
        return changed(self.name, finished, labels + self.std * normal)


class NoisyFeedback(TransformWrapper):
    """Makes the feedback on finished texts unreliable.

    With probability `flip` the feedback r becomes low + high − r (a flipped label, where labels are
    `low` and `high`); else, with probability `replace`, a uniform number in [low, high]; then
    Gaussian noise of standard deviation `std` is added.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        std: Standard deviation of the Gaussian noise.
        flip: Probability of a flip.
        replace: Probability of a random label instead.
        low: Lowest label.
        high: Highest label.
        name: Under which `info["reward_components"]` has the change; wrappers of different names
            draw independently.

    Raises:
        ValueError: As `NoiseTransform` does.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.wrappers import NoisyFeedback
        >>> env = NoisyFeedback(gym.make("TextGen-v0"), flip=1.0, high=20.0)
        >>> _ = env.reset(seed=0)
        >>> env.step(env.unwrapped.tokenizer.eos_token_id)[1]
        20.0
    """

    def __init__(
        self,
        env: gym.Env[Observation, Any],
        std: float = 0.0,
        flip: float = 0.0,
        replace: float = 0.0,
        low: float = 0.0,
        high: float = 1.0,
        name: str = "noise",
    ) -> None:
        super().__init__(
            env,
            NoiseTransform,
            std=std,
            flip=flip,
            replace=replace,
            low=low,
            high=high,
            name=name,
        )


class VectorNoisyFeedback(VectorTransformWrapper):
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
            NoiseTransform,
            std=std,
            flip=flip,
            replace=replace,
            low=low,
            high=high,
            name=name,
        )
