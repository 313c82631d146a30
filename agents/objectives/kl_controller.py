"""The price of KL, `kl_coef`, over time: fixed, or steered by what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

_MAX_PROPORTIONAL_ERROR = 0.2


class KLController(Protocol):
    """Sets the price of KL: read `kl_coef` for a batch, then `update` with what it measured."""

    kl_coef: float

    def update(self, kl: float, n_episodes: int) -> None:
        """Adapt `kl_coef` to the mean `sequence_kl` of the last `n_episodes` completions."""

    def state_dict(self) -> dict[str, float]:
        """Return what a checkpoint must hold."""

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore what `state_dict` returned."""


class FixedKLController:
    """Keeps `kl_coef` where it is.

    Args:
        kl_coef: β, reward per nat.
    """

    def __init__(self, kl_coef: float) -> None:
        self.kl_coef = kl_coef

    def update(self, kl: float, n_episodes: int) -> None:
        """Change nothing, whatever the KL."""

    def state_dict(self) -> dict[str, float]:
        """Return what a checkpoint must hold."""
        return {"kl_coef": self.kl_coef}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore what `state_dict` returned."""
        self.kl_coef = state["kl_coef"]


class AdaptiveKLController:
    """Steers the KL per completion towards a target, by a proportional controller in log space.

    After n episodes with mean sequence KL k::

        e = clip(k / target - 1, -0.2, 0.2)
        β ← β (1 + e n / horizon)

    Source: Ziegler et al. 2019, arXiv:1909.08593, section 2.2; there β = 0.15, target = 6 nats and
    horizon = 10 000 episodes for the stylistic tasks.

    Args:
        kl_coef: β to start from, above 0 (0 would stay 0).
        target: KL to reach, in nats per completion, above 0.
        horizon: Episodes over which the largest error, 0.2, moves β by a fifth, above 0.

    Raises:
        ValueError: If an argument is not above 0.

    Example:
        >>> controller = AdaptiveKLController(0.5, target=6.0, horizon=100)
        >>> controller.update(kl=6.6, n_episodes=100)
        >>> round(controller.kl_coef, 6)
        0.55
    """

    def __init__(self, kl_coef: float, target: float, horizon: float) -> None:
        for name, value in (("kl_coef", kl_coef), ("target", target), ("horizon", horizon)):
            if not value > 0:
                raise ValueError(f"{name} must be above 0, but is {value!r}")
        self.kl_coef = kl_coef
        self.target = target
        self.horizon = horizon

    def update(self, kl: float, n_episodes: int) -> None:
        """Adapt `kl_coef` to what a batch measured.

        Args:
            kl: Mean of `sequence_kl` over the batch, in nats per completion.
            n_episodes: Completions in the batch.

        Raises:
            ValueError: If the batch is so large beside the horizon that β could reach 0.
        """
        if _MAX_PROPORTIONAL_ERROR * n_episodes >= self.horizon:
            raise ValueError(
                f"n_episodes must be below {1 / _MAX_PROPORTIONAL_ERROR:g} horizons of "
                f"{self.horizon:g} episodes, or kl_coef could reach 0, but is {n_episodes}"
            )
        error = kl / self.target - 1
        clipped = max(-_MAX_PROPORTIONAL_ERROR, min(_MAX_PROPORTIONAL_ERROR, error))
        self.kl_coef *= 1 + clipped * n_episodes / self.horizon

    def state_dict(self) -> dict[str, float]:
        """Return what a checkpoint must hold: target and horizon belong to the config."""
        return {"kl_coef": self.kl_coef}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore what `state_dict` returned."""
        self.kl_coef = state["kl_coef"]


def kl_controller(kl_coef: float, target: float | None, horizon: float) -> KLController:
    """Returns a controller that keeps `kl_coef`, or steers it if there is a target."""
    if target is None:
        return FixedKLController(kl_coef)
    return AdaptiveKLController(kl_coef, target, horizon)
