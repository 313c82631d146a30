"""The hyperparameters of trajectory balance."""

from __future__ import annotations

from dataclasses import dataclass

from agents.algorithms.configs.groups import GroupConfig


@dataclass(frozen=True, kw_only=True)
class TrajectoryBalanceConfig(GroupConfig):
    """Sets how often texts are learnt from again.

    KL has no place of its own: its price is in what log-probs are regressed to.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    n_epochs: int = 1
    """Passes over the episodes per update."""
    replay_size: int = 8
    """Batches that are remembered, the newest included."""
    replay_ratio: int = 1
    """Batches drawn from memory for each new one, at most; 0: none."""

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        self._require("kl_coef", "above 0, or there is no optimum to be near", self.kl_coef > 0)
        self._require("kl_in", "'reward', its default", self.kl_in == "reward")
        self._require("replay_size", "at least 1", self.replay_size >= 1)
        self._require("replay_ratio", "at least 0", self.replay_ratio >= 0)
        rule = "False: a residual has a unit, nats"
        self._require("normalize_advantage", rule, not self.normalize_advantage)
