"""The hyperparameters of REINFORCE and REINFORCE++."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.algorithms.configs.policy_gradient import PolicyGradientConfig


@dataclass(frozen=True, kw_only=True)
class REINFORCEConfig(PolicyGradientConfig):
    """Sets what a return is compared with.

    Defaults as in `PolicyGradientConfig`, but for one pass over each batch.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    n_epochs: int = 1
    """Passes over the episodes per update. The gradient is that of the sampling policy in the first
    step only."""
    baseline: Literal["value", "batch_mean"] = "value"
    """What returns are compared with: a value function (Williams 1992), or the mean over all tokens
    of the batch, which with `normalize_advantage` is REINFORCE++ (arXiv:2501.03262)."""
    gamma: float = 1.0
    """Discount per token."""
    vf_coef: float = 0.1
    """Weight of the value loss, with a value function."""

    @property
    def learns_values(self) -> bool:
        """Whether a value function is trained."""
        return self.baseline == "value"

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        self._require("gamma", "in [0, 1]", 0 <= self.gamma <= 1)
        self._require("vf_coef", "at least 0", self.vf_coef >= 0)
        without = "left out with baseline='batch_mean', which has no values"
        self._require("vf_coef", without, self.learns_values or self.vf_coef == type(self).vf_coef)
