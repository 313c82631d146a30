"""`NormalizeFeedback` for vector environments; its meaning is `NormalizeRule`."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.normalize_feedback import NormalizeRule
from text_gym.wrappers.vector.rule_wrapper import RuleWrapper


class NormalizeFeedback(RuleWrapper):
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
        super().__init__(env, NormalizeRule, center=center, name=name)
