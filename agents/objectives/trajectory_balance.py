"""Trajectory balance: regress log π towards that of the optimum, on texts from anywhere.

The optimum of E[R] - β KL(π ‖ π_ref) is π*(y) = π_ref(y) exp(R(y)/β) / Z. The residual is
log π(y) - log π*(y), which is 0 for every text at the optimum, whoever wrote it: replay and other
policies' texts need no importance weight.

This module does not know where texts come from. Log-probs are summed over all chosen tokens, the
end of text included, and never averaged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.objectives.groups import group_mean, require_groups
from agents.objectives.masked import masked_sum


@torch.no_grad()
def group_log_z(log_ratios: Tensor, scores: Tensor, group_ids: Tensor, kl_coef: float) -> Tensor:
    """Estimate log Z of each episode's prompt: the group's mean of R/β - log π/π_ref.

    Each term is log Z at the optimum; elsewhere the mean is what minimises the group's squared
    residuals.

    Source: VarGrad (Richter et al. 2020, arXiv:2010.10436); for language models, TBA (Bartoldson et
    al. 2025, arXiv:2503.18929).

    Args:
        log_ratios: (B,), log π(y)/π_ref(y).
        scores: (B,), R(y), without any KL penalty.
        group_ids: (B,) integers, equal for the episodes of one prompt.
        kl_coef: β, reward per nat, above 0.

    Returns:
        (B,), without gradient.

    Raises:
        ValueError: If the shapes differ, a group has a single member, or β is not above 0.

    Example:
        >>> zeros, group_ids = torch.zeros(2), torch.tensor([5, 5])
        >>> group_log_z(zeros, torch.tensor([1.0, 2.0]), group_ids, kl_coef=0.5)
        tensor([3., 3.])
    """
    _require_positive(kl_coef)
    require_groups(group_ids)
    return group_mean(scores / kl_coef - log_ratios, group_ids)


def trajectory_balance_residuals(
    log_probs: Tensor,
    ref_log_probs: Tensor,
    mask: Tensor,
    scores: Tensor,
    log_z: Tensor,
    kl_coef: float,
) -> Tensor:
    """Compute δ(y) = log Z + Σ_t (log π - log π_ref) - R(y)/β.

    An estimate of log π(y) - log π*(y): its spread within a group tells how far, in nats, the
    policy is from the optimum on these texts.

    Source: Malkin et al. 2022, arXiv:2201.13259, equation 14, with π_ref exp(R/β) as the reward of
    the flow (Hu et al. 2023, arXiv:2310.04363).

    Args:
        log_probs: (B, T), under the policy being trained, with gradient.
        ref_log_probs: (B, T), of the same tokens under the reference.
        mask: (B, T) bool, True = chosen, by whichever policy wrote the text.
        scores: (B,), R(y), without any KL penalty.
        log_z: (B,), by `group_log_z` or from samples of the reference kept for the purpose.
        kl_coef: β, reward per nat, above 0.

    Returns:
        (B,), in nats, with gradient.

    Raises:
        ValueError: If a shape does not fit or β is not above 0.
    """
    _require_positive(kl_coef)
    if scores.shape != mask.shape[:1] or log_z.shape != scores.shape:
        raise ValueError(
            f"scores and log_z must be one number per text, {tuple(mask.shape[:1])}, but have "
            f"shapes {tuple(scores.shape)} and {tuple(log_z.shape)}"
        )
    return log_z + masked_sum(log_probs - ref_log_probs, mask, dim=1) - scores / kl_coef


def trajectory_balance_loss(
    residuals: Tensor, kl_coef: float, *, n_sequences: float | None = None
) -> Tensor:
    """Compute (β/2) (1/n) Σ δ².

    The factor makes the gradient on texts of the policy itself that of E[R] - β KL(π ‖ π_ref), as
    in REINFORCE with the KL in the reward and the group's mean, detached, as baseline.

    Source: Bartoldson et al. 2025, arXiv:2503.18929.

    Args:
        residuals: δ, (B,), with gradient.
        kl_coef: β, reward per nat.
        n_sequences: Texts of the whole optimiser step; None means B.

    Returns:
        Scalar to minimise.

    Raises:
        ValueError: If β or `n_sequences` is not above 0.

    Example:
        >>> trajectory_balance_loss(torch.tensor([1.0, 3.0]), kl_coef=0.5)
        tensor(1.2500)
    """
    _require_positive(kl_coef)
    n = len(residuals) if n_sequences is None else n_sequences
    if not n > 0:
        raise ValueError(f"n_sequences must be above 0, but is {n!r}")
    return kl_coef / 2 * residuals.square().sum() / n


def _require_positive(kl_coef: float) -> None:
    if not kl_coef > 0:
        raise ValueError(f"kl_coef must be above 0, but is {kl_coef!r}")
