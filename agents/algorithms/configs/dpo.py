"""The hyperparameters of DPO and IPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.algorithms.configs.offline import OfflineConfig


@dataclass(frozen=True, kw_only=True)
class DPOConfig(OfflineConfig):
    """Sets what DPO makes of preferences.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    kl_coef: float = 0.1
    """β: what a nat of log π/π_ref of a whole text is worth. The smaller, the further the policy
    goes."""
    loss: Literal["dpo", "ipo"] = "dpo"
    """The logistic loss, which never has enough of a pair (Rafailov et al. 2023, arXiv:2305.18290),
    or the squared one, which has a finite optimum (IPO, Azar et al. 2023, arXiv:2310.12036)."""
    label_smoothing: float = 0.0
    """Share of the preferences that are believed to be the wrong way round; not with IPO."""
    margin_coef: float = 0.0
    """Times a pair's margin: by how much the preferred text's β log π/π_ref is to exceed the
    other's (DPO with an offset, Amini et al. 2024, arXiv:2402.10571). 0: margins do not count. Not
    with IPO."""

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        self._require("kl_coef", "above 0", self.kl_coef > 0)
        self._require("label_smoothing", "in [0, 0.5)", 0 <= self.label_smoothing < 0.5)
        self._require("margin_coef", "at least 0", self.margin_coef >= 0)
        for name in ("label_smoothing", "margin_coef"):
            zero = self.loss == "dpo" or getattr(self, name) == 0
            self._require(name, "0 with loss='ipo'", zero)
