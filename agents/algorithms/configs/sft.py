"""The hyperparameters of supervised fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass

from agents.algorithms.configs.offline import OfflineConfig


@dataclass(frozen=True, kw_only=True)
class SFTConfig(OfflineConfig):
    """Sets how supervised fine-tuning reads its pairs: as `OfflineConfig`, three times.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    n_epochs: int = 3
    """Passes over the pairs, each in an order of its own."""
