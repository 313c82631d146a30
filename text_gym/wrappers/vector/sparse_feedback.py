"""`SparseFeedback` for vector environments; its meaning is `SparseRule`."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.sparse_feedback import SparseRule
from text_gym.wrappers.vector.rule_wrapper import RuleWrapper


class SparseFeedback(RuleWrapper):
    """Pays only a random fraction of the finished texts.

    Row i draws what a single environment seeded with s + i draws.

    Arguments and errors are those of `text_gym.wrappers.SparseFeedback`.
    """

    def __init__(
        self, env: VectorEnv[Observation, Any, NDArray[Any]], fraction: float, name: str = "sparse"
    ) -> None:
        super().__init__(env, SparseRule, fraction=fraction, name=name)
