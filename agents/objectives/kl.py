"""The distance from the reference policy: estimating it, charging for it, setting its price.

Estimators and penalties are functions of the log-probs of the tokens that were sampled. They do not
know the distributions those came from: whoever calls them has renormalised both policies under the
same action mask and temperature. The controllers keep the one number that changes, `kl_coef`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor

from agents.objectives.masked import masked_sum

KLEstimator = Literal["k1", "k2", "k3"]

_MAX_PROPORTIONAL_ERROR = 0.2


def kl_estimate(log_probs: Tensor, ref_log_probs: Tensor, kind: KLEstimator) -> Tensor:
    """Estimate KL(π ‖ π_ref) per token from tokens sampled by π.

    With Δ = log π(a|s) - log π_ref(a|s), in nats:

    - ``"k1"`` = Δ: unbiased, of high variance, negative on some samples.
    - ``"k2"`` = Δ²/2: biased, of low variance, never negative.
    - ``"k3"`` = exp(-Δ) - 1 + Δ: unbiased, of lower variance than k1, never negative.

    These are estimates to report or to charge for. As losses, k1 and k3 have gradients that are not
    the gradient of the KL divergence.

    Source: Schulman 2020, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html.

    Args:
        log_probs: Any shape, log-probs under π, which sampled the tokens.
        ref_log_probs: The same shape, log-probs of the same tokens under π_ref.
        kind: The estimator.

    Returns:
        The shape of `log_probs`.

    Raises:
        ValueError: If `kind` is not one of the three.

    Example:
        >>> kl_estimate(torch.tensor([-1.0]), torch.tensor([-3.0]), "k2")
        tensor([2.])
    """
    log_ratio = log_probs - ref_log_probs
    match kind:
        case "k1":
            return log_ratio
        case "k2":
            return 0.5 * log_ratio.square()
        case "k3":
            return torch.expm1(-log_ratio) + log_ratio
    raise ValueError(f"kind must be 'k1', 'k2' or 'k3', but is {kind!r}")


def kl_penalised_rewards(
    rewards: Tensor, log_probs: Tensor, ref_log_probs: Tensor, mask: Tensor, kl_coef: float
) -> Tensor:
    """Charge every chosen token for its distance from the reference: r_t - β Δ_t.

    Δ_t = log π(a_t|s_t) - log π_ref(a_t|s_t), the k1 estimate, so that the undiscounted sum over a
    completion is R - β log(π(y)/π_ref(y)), whose mean is E[R] - β KL(π ‖ π_ref).

    Source: Ziegler et al. 2019, "Fine-tuning language models from human preferences",
    arXiv:1909.08593, equation 2.

    Args:
        rewards: (B, T), paid by the environment.
        log_probs: (B, T), of the tokens under the policy that sampled them.
        ref_log_probs: (B, T), of the same tokens under the reference.
        mask: (B, T) bool, True = chosen by the policy.
        kl_coef: β, reward per nat.

    Returns:
        (B, T), 0 where the mask is False.

    Raises:
        ValueError: If `rewards` are not per token (scores (B,) would broadcast where B = T).

    Example:
        >>> kl_penalised_rewards(
        ...     rewards=torch.tensor([[0.0, 1.0]]),
        ...     log_probs=torch.tensor([[-1.0, -1.0]]),
        ...     ref_log_probs=torch.tensor([[-3.0, -1.0]]),
        ...     mask=torch.tensor([[True, True]]),
        ...     kl_coef=0.5,
        ... )
        tensor([[-1.,  1.]])
    """
    if rewards.shape != mask.shape:
        raise ValueError(
            f"rewards must have the shape of mask, {tuple(mask.shape)}, "
            f"but have {tuple(rewards.shape)}"
        )
    return torch.where(mask, rewards - kl_coef * (log_probs - ref_log_probs), 0)


def sequence_kl(log_probs: Tensor, ref_log_probs: Tensor, mask: Tensor) -> Tensor:
    """Sum Δ_t over each completion: log(π(y)/π_ref(y)), in nats per completion.

    Its mean over completions sampled by π estimates KL(π ‖ π_ref) between whole texts. This is the
    KL that runs report and that `AdaptiveKLController` steers.

    Args:
        log_probs: (B, T), of the tokens under the policy that sampled them.
        ref_log_probs: (B, T), of the same tokens under the reference.
        mask: (B, T) bool, True = chosen by the policy.

    Returns:
        (B,), 0 for a row in which nothing counts.
    """
    return masked_sum(log_probs - ref_log_probs, mask, dim=1)


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
