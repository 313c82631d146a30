"""The hyperparameters of TRPO."""

from __future__ import annotations

from dataclasses import dataclass

from agents.algorithms.configs.policy_gradient import PolicyGradientConfig


@dataclass(frozen=True, kw_only=True)
class TRPOConfig(PolicyGradientConfig):
    """Sets the trust region and the search for a step in it.

    `learning_rate`, `n_epochs`, `batch_size` and `max_grad_norm` are those of the value function;
    the policy takes one step per update, from all episodes together. Defaults are sb3-contrib's
    (`TRPO`), unless a field says otherwise.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    learning_rate: float = 1e-3
    """Of Adam, for the value function."""
    n_epochs: int = 10
    """Passes of the value function over the episodes per update."""
    gamma: float = 1.0
    """Discount per token. Below 1, long texts are worth less for being long."""
    gae_lambda: float = 0.95
    """GAE's λ: 0 trusts the values, 1 the rewards."""
    max_kl: float = 0.01
    """δ: how far a step may go, as the mean of KL(π_old ‖ π) over tokens, in nats. On a text of 60
    tokens 0.01 is 0.6 nats."""
    cg_iterations: int = 15
    """Most iterations of conjugate gradient, each of which reads all episodes."""
    cg_damping: float = 0.1
    """Added to the diagonal of the Fisher matrix."""
    line_search_shrink: float = 0.8
    """What a rejected step is multiplied by."""
    line_search_trials: int = 10
    """Steps that are tried; after the last one the policy stays as it was."""

    @property
    def learns_values(self) -> bool:
        """Whether a value function is trained."""
        return True

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        for name in ("gamma", "gae_lambda"):
            self._require(name, "in [0, 1]", 0 <= getattr(self, name) <= 1)
        self._require("max_kl", "above 0", self.max_kl > 0)
        self._require("cg_damping", "at least 0", self.cg_damping >= 0)
        for name in ("cg_iterations", "line_search_trials"):
            self._require(name, "at least 1", getattr(self, name) >= 1)
        self._require("line_search_shrink", "in (0, 1)", 0 < self.line_search_shrink < 1)
        self._require("kl_in", "'reward': the trust region is no loss", self.kl_in == "reward")
        self._require("ent_coef", "0: the trust region is no loss", self.ent_coef == 0)
        self._require("target_kl", "None: max_kl bounds a step", self.target_kl is None)
