"""The hyperparameters of expert iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.algorithms.configs.groups import GroupConfig


@dataclass(frozen=True, kw_only=True)
class ExpertIterationConfig(GroupConfig):
    """Sets which of its own texts the policy imitates.

    KL has no place of its own: its price is in the scores that texts are chosen by.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    select_by: Literal["weight", "filter"] = "weight"
    """Whether every text of a group counts, by exp(R/β) with β = `kl_coef`, or its best ones alone
    and alike."""
    keep: int = 1
    """Best texts of a group that `select_by="filter"` keeps, and those that are as good as the last
    of them."""

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        self._require("keep", "at least 1", self.keep >= 1)
        below = f"below group_size={self.group_size}, or nothing is left out"
        self._require("keep", below, self.keep < self.group_size)
        positive = self.select_by == "filter" or self.kl_coef > 0
        self._require("kl_coef", "above 0 with select_by='weight'", positive)
        self._require("kl_in", "'reward', its default", self.kl_in == "reward")
        rule = "False: weights are not centred"
        self._require("normalize_advantage", rule, not self.normalize_advantage)
