"""A soft limit on length: `OverlongPenalty`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.number_rules import require_finite
from text_gym.task import Observation
from text_gym.wrappers.reward_transform import (
    EpisodeTransform,
    Finished,
    RewardUpdate,
    Rows,
    Values,
)
from text_gym.wrappers.transform_wrapper import TransformWrapper
from text_gym.wrappers.vector_transform_wrapper import VectorTransformWrapper


def overlong_penalty(lengths: Rows, max_tokens: int, buffer: int) -> Values:
    """Returns the soft overlong punishment of DAPO (arXiv:2503.14476, equation 13), shape (k,).

    0 up to max_tokens − buffer tokens, −1 from max_tokens on, and a straight line in between.

    Example:
        >>> overlong_penalty(np.array([6, 7, 8, 10, 12]), max_tokens=10, buffer=4).tolist()
        [0.0, -0.25, -0.5, -1.0, -1.0]
    """
    return np.clip((max_tokens - buffer - lengths) / buffer, -1.0, 0.0)


class OverlongTransform(EpisodeTransform):
    """Adds the soft overlong punishment, times a weight.

    Raises:
        ValueError: If `buffer` is not in [1, max_tokens], or `weight` is not finite.
    """

    def __init__(
        self, max_tokens: int, buffer: int, weight: float = 1.0, name: str = "overlong"
    ) -> None:
        if not 1 <= buffer <= max_tokens:
            raise ValueError(f"buffer must be in [1, max_tokens={max_tokens}], got {buffer}")
        require_finite(weight, "weight")
        self.max_tokens, self.buffer = max_tokens, buffer
        self.weight = weight
        self.name = name

    def apply(self, finished: Finished) -> RewardUpdate:
        """Returns the feedback minus the punishment."""
        lengths = np.array([len(episode.completion_ids) for episode in finished.episodes])
        penalty = self.weight * overlong_penalty(lengths, self.max_tokens, self.buffer)
        return RewardUpdate(finished.rewards + penalty, {self.name: penalty})


class OverlongPenalty(TransformWrapper):
    """Punishes finished texts that come close to a number of tokens, or exceed it.

    The punishment grows from 0 at `max_tokens - buffer` tokens, EOS included, to `weight` at
    `max_tokens` (DAPO, arXiv:2503.14476, equation 13). Where the environment's limit truncates
    (`limit="truncate"`), a text that reaches it has no feedback, and no punishment either.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        max_tokens: Length from which the punishment is full; usually the environment's
            `max_new_tokens`.
        buffer: Over how many tokens it grows.
        weight: The full punishment.
        name: Its name in `info["reward_components"]`.

    Raises:
        ValueError: If `buffer` is not in [1, max_tokens], or `weight` is not finite.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.wrappers import OverlongPenalty
        >>> env = OverlongPenalty(gym.make("TextGen-v0"), max_tokens=4, buffer=2)
        >>> _ = env.reset(seed=0)
        >>> tokenizer = env.unwrapped.tokenizer
        >>> for token in [*tokenizer.encode("fine thanks"), tokenizer.eos_token_id]:
        ...     *_, info = env.step(token)
        >>> info["reward_components"]
        {'word_count': 2.0, 'overlong': -0.5}
    """

    def __init__(
        self,
        env: gym.Env[Observation, Any],
        max_tokens: int,
        buffer: int,
        weight: float = 1.0,
        name: str = "overlong",
    ) -> None:
        super().__init__(
            env, OverlongTransform, max_tokens=max_tokens, buffer=buffer, weight=weight, name=name
        )


class VectorOverlongPenalty(VectorTransformWrapper):
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
            env, OverlongTransform, max_tokens=max_tokens, buffer=buffer, weight=weight, name=name
        )
