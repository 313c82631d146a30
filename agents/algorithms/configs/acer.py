"""The hyperparameters of ACER."""

from __future__ import annotations

from dataclasses import dataclass

from agents.algorithms.configs.policy_gradient import PolicyGradientConfig


@dataclass(frozen=True, kw_only=True)
class ACERConfig(PolicyGradientConfig):
    """Sets what is learnt from again, and how far from the averaged policy.

    Defaults are the paper's (arXiv:1611.01224), but γ = 1, because a text is paid at its end.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    n_epochs: int = 1
    """Passes over the episodes per update."""
    normalize_advantage: bool = False
    """Not for ACER: its advantages are found anew in every step."""
    gamma: float = 1.0
    """Discount per token."""
    max_weight: float = 10.0
    """c: importance weights are cut here, and what that leaves out is put back by its
    expectation."""
    max_kl: float | None = 1.0
    """δ: bounds the product of a step with the gradient of KL(π_average ‖ π), in the space of one
    token's logits; None: no trust region."""
    average_decay: float = 0.99
    """Share of the averaged policy that an optimiser step leaves in it."""
    vf_coef: float = 0.5
    """Weight of the squared error of Q."""
    replay_size: int = 4
    """Batches that are remembered, the newest included. Each token keeps the log-probs of the whole
    vocabulary, in half precision."""
    replay_ratio: int = 1
    """Batches drawn from memory for each new one, at most; 0: none."""

    @property
    def learns_values(self) -> bool:
        """Whether a value function is trained."""
        return True

    @property
    def learns_action_values(self) -> bool:
        """Whether it is one of states and tokens."""
        return True

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        self._require("gamma", "in [0, 1]", 0 <= self.gamma <= 1)
        self._require("max_weight", "above 0", self.max_weight > 0)
        self._require_none_or_positive("max_kl")
        self._require("average_decay", "in (0, 1)", 0 < self.average_decay < 1)
        self._require("vf_coef", "at least 0", self.vf_coef >= 0)
        self._require("replay_size", "at least 1", self.replay_size >= 1)
        self._require("replay_ratio", "at least 0", self.replay_ratio >= 0)
        self._require("kl_in", "'reward', its default", self.kl_in == "reward")
        rule = "False: advantages are found anew in every step"
        self._require("normalize_advantage", rule, not self.normalize_advantage)
