"""`ReferenceLogProb` for vector environments; its meaning is `ReferenceRule`."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.reference_log_prob import LogProbs, ReferenceRule
from text_gym.wrappers.vector.rule_wrapper import RuleWrapper


class ReferenceLogProb(RuleWrapper):
    """Adds β·log π₀(token | text so far) to every step.

    The reference is called once per step, on the texts that were being written.

    Arguments and errors are those of `text_gym.wrappers.ReferenceLogProb`.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        log_probs: LogProbs,
        beta: float = 1.0,
        name: str = "reference",
    ) -> None:
        super().__init__(env, ReferenceRule, log_probs=log_probs, beta=beta, name=name)
