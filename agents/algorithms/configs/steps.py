"""What every algorithm that learns can be told: how an optimiser's steps are taken.

Imports no torch, so that a command line can be built from it and print its help at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from agents.field_kinds import require_kinds


@dataclass(frozen=True, kw_only=True)
class StepsConfig:
    """Sets how parameters move, and knows how a field is refused.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    learning_rate: float = 1e-5
    """Of Adam. For models of a few million parameters trained from scratch, 3e-4 (SB3) fits; for
    adapters, 1e-4 and more."""
    lr_schedule: Literal["constant", "linear"] = "linear"
    """Multiplies the learning rate, from 1 at the start to its value at the end."""
    adam_epsilon: float = 1e-5
    """Added to the root of Adam's second moment (baselines, SB3, CleanRL)."""
    n_epochs: int = 1
    """Passes over what is learnt from."""
    batch_size: int = 64
    """Texts per optimiser step."""
    micro_batch_size: int | None = None
    """Texts per forward pass, those of similar length together; None: the whole batch. Changes
    memory and the work lost to padding, not the gradient."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global norm (TRL, OpenRLHF)."""
    ema_decay: float | None = None
    """Share of the old average that an optimiser step leaves in the moving average of the
    parameters, which is evaluated and saved beside them (WARP, arXiv:2406.16768); None: none."""
    seed: int = 0
    """Of everything that is drawn."""

    def __post_init__(self) -> None:
        """Checks every field against its kind, and its rule."""
        require_kinds(self)
        for name in ("n_epochs", "batch_size"):
            self._require(name, "at least 1", getattr(self, name) >= 1)
        for name in ("learning_rate", "adam_epsilon", "max_grad_norm"):
            self._require(name, "above 0", getattr(self, name) > 0)
        micro, decay = self.micro_batch_size, self.ema_decay
        self._require("micro_batch_size", "None or at least 1", micro is None or micro >= 1)
        self._require("ema_decay", "None or in (0, 1)", decay is None or 0 < decay < 1)
        self._require("seed", "at least 0", self.seed >= 0)
        for name, value in vars(self).items():
            # A config is written to JSON, which has no other floats.
            self._require(name, "finite", not isinstance(value, float) or math.isfinite(value))

    def _require(self, name: str, rule: str, holds: bool) -> None:
        if not holds:
            raise ValueError(f"{name} must be {rule}, got {getattr(self, name)!r}")

    def _require_none_or_positive(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            self._require(name, "None or above 0", value is None or value > 0)
