"""Feedback of unit spread: `NormalizeFeedback`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.reward_transform import EpisodeTransform, Finished, RewardUpdate, changed
from text_gym.wrappers.transform_wrapper import TransformWrapper
from text_gym.wrappers.vector_transform_wrapper import VectorTransformWrapper


class NormalizeTransform(EpisodeTransform):
    """Divides the feedback by its running standard deviation, after subtracting its mean if asked.

    The statistics are those of all finished texts so far, these included, over all rows, by
    Welford's method (Technometrics 4, 1962); the standard deviation is the sample's (n − 1). Until
    two different values were seen the divisor is 1.

    Attributes:
        updating: False freezes the statistics, for an evaluation.
    """

    def __init__(self, center: bool = False, name: str = "normalization") -> None:
        self.center = center
        self.name = name
        self.updating = True
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    @property
    def std(self) -> float:
        """The divisor."""
        return math.sqrt(self._squares / (self.count - 1)) if self._squares > 0 else 1.0

    def apply(self, finished: Finished) -> RewardUpdate:
        """Returns the normalised feedback."""
        if self.updating:
            for value in finished.rewards.tolist():
                self._count_in(value)
        shift = self.mean if self.center else 0.0
        return changed(self.name, finished, (finished.rewards - shift) / self.std)

    def _count_in(self, value: float) -> None:
        self.count += 1
        before = value - self.mean
        self.mean += before / self.count
        self._squares += before * (value - self.mean)

    def get_state(self) -> dict[str, Any]:
        """Returns the statistics."""
        return {"count": self.count, "mean": self.mean, "squares": self._squares}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from these statistics."""
        self.count, self.mean, self._squares = state["count"], state["mean"], state["squares"]


class NormalizeFeedback(TransformWrapper):
    """Divides the feedback on finished texts by its running standard deviation.

    The statistics outlive resets, seeded ones too; `env.transform.updating = False` freezes them,
    and `env.transform.mean`, `.std` and `.count` show them. A vector has one set of them for all
    its rows.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        center: Whether the running mean is subtracted first. That changes what a short text is
            worth against a long one where feedback is only part of the reward.
        name: Under which `info["reward_components"]` has the change.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.wrappers import NormalizeFeedback
        >>> env = NormalizeFeedback(gym.make("TextGen-v0", max_new_tokens=1))
        >>> for word in env.unwrapped.tokenizer.encode("? fine"):
        ...     _ = env.reset()
        ...     print(round(env.step(word)[1], 4))
        0.0
        1.4142
    """

    def __init__(
        self, env: gym.Env[Observation, Any], center: bool = False, name: str = "normalization"
    ) -> None:
        super().__init__(env, NormalizeTransform, center=center, name=name)


class VectorNormalizeFeedback(VectorTransformWrapper):
    """Divides the feedback on finished texts by its running standard deviation.

    All rows share the statistics; texts that end in one step are counted in ascending order of rows
    and then normalised together.

    Arguments and errors are those of `text_gym.wrappers.NormalizeFeedback`.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        center: bool = False,
        name: str = "normalization",
    ) -> None:
        super().__init__(env, NormalizeTransform, center=center, name=name)
