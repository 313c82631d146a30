"""The distance from the reference as a term of the loss, and what its gradient is.

A price per nat in the reward (`kl_penalised_rewards`, the k1 estimate) makes the policy gradient
that of E[R] - β KL(π ‖ π_ref), KL between whole texts, exactly. A term of the loss acts on the
token where it stands and holds the texts before it fixed, so that its gradient lacks what a token
does to the KL of later ones. At the policy that sampled, state by state, in expectation:

======================  ==============================================
term                    expected gradient
======================  ==============================================
k1                      0: the term does nothing but add noise
k2                      ∇ KL(π ‖ π_ref)
k3                      ∇ KL(π_ref ‖ π), the other direction
k1 or k3, by ratio      ∇ KL(π ‖ π_ref), at any policy
k2, by ratio            ∇ E_π[Δ²/2]: of no KL
exact                   ∇ KL(π ‖ π_ref), without noise
======================  ==============================================

"By ratio" multiplies the term by π/π_old and differentiates that too. k2 of the whole text's
Δ, ½(Σ_t Δ_t)², would have the gradient of the KL between whole texts: that is trajectory balance.

Source: k1 to k3 in arXiv:2510.01555 (Liu et al. 2025, "Rethinking KL regularization in RLHF"); the
ratio from DeepSeek-V3.2 (2025, arXiv:2512.02556); exact from Amini et al. 2025, arXiv:2504.10637.

This module knows no coefficient: β multiplies what it returns. Nor does it know how log-probs came
to be; both policies were renormalised under one action mask and temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.objectives.kl import KLEstimator, kl_estimate
from agents.objectives.losses import token_mean


def sampled_kl(
    log_probs: Tensor,
    ref_log_probs: Tensor,
    mask: Tensor,
    kind: KLEstimator,
    *,
    old_log_probs: Tensor | None = None,
) -> Tensor:
    """Estimate KL(π ‖ π_ref) at each chosen token, with the gradient that the table above says.

    Args:
        log_probs: (B, T), under the policy being trained, with gradient.
        ref_log_probs: (B, T), of the same tokens under the reference.
        mask: (B, T) bool, True = chosen by the policy.
        kind: The estimator.
        old_log_probs: (B, T), under the policy that sampled: multiplies by π/π_old. None takes the
            term as it is.

    Returns:
        (B, T) in nats, 0 where the mask is False.

    Raises:
        ValueError: If `kind` is not one of the three.

    Example:
        >>> zeros, mask = torch.zeros(1, 1), torch.tensor([[True]])
        >>> sampled_kl(zeros - 1.0, zeros - 3.0, mask, "k2")
        tensor([[2.]])
    """
    # Masked first: past a masked NaN the gradient would be 0 * NaN.
    log_probs = torch.where(mask, log_probs, 0)
    estimate = kl_estimate(log_probs, torch.where(mask, ref_log_probs, 0), kind)
    if old_log_probs is None:
        return estimate
    return estimate * (log_probs - torch.where(mask, old_log_probs, 0)).exp()


def exact_kl(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """Compute KL(π ‖ π_ref) = Σ_a π(a) (log π(a) - log π_ref(a)) over the vocabulary.

    Actions that π excludes add nothing, whatever the reference says of them.

    Source: Kullback and Leibler 1951; in place of sampled estimates, Amini et al. 2025,
    arXiv:2504.10637.

    Args:
        log_probs: (..., V), normalised; -inf, or a large negative number, where excluded.
        ref_log_probs: (..., V).

    Returns:
        (...), in nats.

    Example:
        >>> half = torch.tensor([0.5, 0.5]).log()
        >>> exact_kl(half, torch.tensor([0.25, 0.75]).log())
        tensor(0.1438)
    """
    possible = log_probs.exp() > 0
    ours = torch.where(possible, log_probs, 0)
    log_ratio = ours - torch.where(possible, ref_log_probs, 0)
    return torch.where(possible, ours.exp() * log_ratio, 0).sum(dim=-1)


def kl_loss(kl: Tensor, mask: Tensor, *, n_tokens: float) -> Tensor:
    """Sum KL over tokens, and divide by a number that belongs to the optimiser step.

    With n = the texts of the step, β is a price per nat of a whole completion, as in the reward.
    Another normaliser changes what β means: per token it is β·|y| per completion.

    Args:
        kl: (B, T), by `sampled_kl` or `exact_kl`, perhaps `weighted`.
        mask: (B, T) bool, True = chosen by the policy.
        n_tokens: What the sum over the whole optimiser step is divided by.

    Returns:
        Scalar, which `kl_coef` multiplies.

    Raises:
        ValueError: If a shape does not fit, or `n_tokens` is not above 0.
    """
    return token_mean(kl, mask, n_tokens)
