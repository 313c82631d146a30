"""What every algorithm that learns from a file can be told.

Imports no torch, so that a command line can be built from it and print its help at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.algorithms.configs.steps import StepsConfig


@dataclass(frozen=True, kw_only=True)
class OfflineConfig(StepsConfig):
    """Sets how often the examples are read and how parameters move.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    adam_epsilon: float = 1e-8
    """Added to the root of Adam's second moment."""
    n_epochs: int = 1
    """Passes over the examples, each in an order of its own."""
    batch_size: int = 32
    """Examples per optimiser step."""
