"""People who rate differently: `Annotators`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.reward_transform import Finished, RandomTransform, RewardUpdate, changed
from text_gym.wrappers.transform_wrapper import TransformWrapper
from text_gym.wrappers.vector_transform_wrapper import VectorTransformWrapper


class AnnotatorsTransform(RandomTransform):
    """Gives every finished text to one of k annotators, who pays scale·feedback + bias.

    Raises:
        ValueError: If `biases` is empty or not finite, or `scales` or `probabilities` is not as
            long, or the probabilities are negative or do not sum to 1.
    """

    def __init__(
        self,
        biases: Sequence[float],
        scales: Sequence[float] | None = None,
        probabilities: Sequence[float] | None = None,
        name: str = "annotator",
    ) -> None:
        super().__init__(name)
        count = len(biases)
        if count == 0:
            raise ValueError(f"biases must name at least one annotator, got {biases!r}")
        self.biases = np.array(biases, dtype=np.float64)
        self.scales = np.ones(count) if scales is None else np.array(scales, dtype=np.float64)
        chances = np.full(count, 1 / count) if probabilities is None else np.array(probabilities)
        for argument, values in (
            ("biases", self.biases),
            ("scales", self.scales),
            ("probabilities", chances),
        ):
            if values.shape != (count,) or not np.isfinite(values).all():
                raise ValueError(f"{argument} must be {count} finite numbers, got {values}")
        if (chances < 0).any() or not np.isclose(chances.sum(), 1):
            raise ValueError(f"probabilities must be at least 0 and sum to 1, got {chances}")
        self._thresholds = np.cumsum(chances)[:-1]

    def apply(self, finished: Finished) -> RewardUpdate:
        """Returns the ratings, and who gave them as `info["annotator"]`."""
        draws = [self.streams[row].random() for row in finished.rows.tolist()]
        who = np.searchsorted(self._thresholds, draws, side="right")
        ratings = self.scales[who] * finished.rewards + self.biases[who]
        return changed(self.name, finished, ratings, annotator=who)


class Annotators(TransformWrapper):
    """Lets every finished text be rated by one of several annotators, drawn at random.

    Annotator j turns the feedback r into scales[j]·r + biases[j]; `info["annotator"]` says who it
    was. For annotators who also waver, wrap in `NoisyFeedback`.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        biases: What each annotator adds; as many as there are annotators.
        scales: What each multiplies by; 1 by default.
        probabilities: How often each is drawn; equally often by default.
        name: Under which `info["reward_components"]` has the change.

    Raises:
        ValueError: As `AnnotatorsTransform` does.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.wrappers import Annotators
        >>> env = Annotators(gym.make("TextGen-v0"), biases=[-1.0, 1.0], probabilities=[0, 1])
        >>> _ = env.reset(seed=0)
        >>> _, reward, *_, info = env.step(env.unwrapped.tokenizer.eos_token_id)
        >>> reward, info["annotator"]
        (1.0, 1)
    """

    def __init__(
        self,
        env: gym.Env[Observation, Any],
        biases: Sequence[float],
        scales: Sequence[float] | None = None,
        probabilities: Sequence[float] | None = None,
        name: str = "annotator",
    ) -> None:
        super().__init__(
            env,
            AnnotatorsTransform,
            biases=biases,
            scales=scales,
            probabilities=probabilities,
            name=name,
        )


class VectorAnnotators(VectorTransformWrapper):
    """Lets every finished text be rated by one of several annotators, drawn at random.

    Row i draws what a single environment seeded with s + i draws.

    Arguments and errors are those of `text_gym.wrappers.Annotators`.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        biases: Sequence[float],
        scales: Sequence[float] | None = None,
        probabilities: Sequence[float] | None = None,
        name: str = "annotator",
    ) -> None:
        super().__init__(
            env,
            AnnotatorsTransform,
            biases=biases,
            scales=scales,
            probabilities=probabilities,
            name=name,
        )
