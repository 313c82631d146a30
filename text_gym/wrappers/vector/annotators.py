"""`Annotators` for vector environments; its meaning is `AnnotatorsRule`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.annotators import AnnotatorsRule
from text_gym.wrappers.vector.rule_wrapper import RuleWrapper


class Annotators(RuleWrapper):
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
            AnnotatorsRule,
            biases=biases,
            scales=scales,
            probabilities=probabilities,
            name=name,
        )
