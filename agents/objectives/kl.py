"""The distance from the reference policy: estimating it, and paying for it in reward or in loss.

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

This module does not know how log-probs came to be: whoever calls has renormalised both policies
under one action mask and temperature.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from agents.objectives.losses import token_mean
from agents.objectives.masked import masked_sum

KLEstimator = Literal["k1", "k2", "k3"]


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

    With n = the texts of the step it is KL per completion. In a loss it needs the weights and the
    normaliser of the policy's own terms, so that β stays the price of a nat of a completion.

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
