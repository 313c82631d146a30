"""Policy losses beside PPO's clipped surrogate: plain, by sequence, and by a clipped weight.

Each is a sum divided by a number that belongs to the whole optimiser step, so that micro-batches
add up; `agents.objectives.aggregation` tells which number. The clipped surrogate per token,
asymmetric or not, is `agents.objectives.losses.clipped_surrogate_loss`.

This module does not know how advantages came to be, nor the model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.objectives.losses import PolicyLoss, clipped_surrogate_loss, token_mean
from agents.objectives.masked import masked_mean, masked_sum


def policy_gradient_loss(
    log_probs: Tensor, advantages: Tensor, mask: Tensor, *, n_tokens: float | None = None
) -> Tensor:
    """Compute the loss of REINFORCE: -(1/n) Σ A log π.

    Its gradient at the policy that sampled is that of the clipped surrogate; away from it, it is
    biased, and `truncated_importance_weights` times the advantages bounds the bias.

    Source: Williams 1992, https://doi.org/10.1007/BF00992696.

    Args:
        log_probs: (B, T), under the policy being trained, with gradient.
        advantages: (B, T), without gradient.
        mask: (B, T) bool, True = chosen by the policy.
        n_tokens: What the sum over the whole optimiser step is divided by; None means the tokens of
            `mask`.

    Returns:
        Scalar to minimise.

    Raises:
        ValueError: If a shape does not fit, nothing is counted and `n_tokens` is None, or
            `n_tokens` is not above 0.

    Example:
        >>> log_probs, mask = torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, True]])
        >>> policy_gradient_loss(log_probs, torch.tensor([[1.0, 3.0]]), mask)
        tensor(3.5000)
    """
    # Masked here as well as in the sum: past a masked NaN the gradient would be 0 * NaN.
    log_probs = torch.where(mask, log_probs, 0)
    return token_mean(-advantages * log_probs, mask, n_tokens)


@torch.no_grad()
def truncated_importance_weights(
    log_probs: Tensor, behaviour_log_probs: Tensor, mask: Tensor, max_weight: float
) -> Tensor:
    """Compute min(ρ, c), ρ = π / μ, for tokens that a policy μ sampled.

    Multiply advantages by it where the policy that sampled is not the one that old log-probs are
    of: because a faster engine sampled, or an older policy.

    Source: IMPALA (Espeholt et al. 2018, arXiv:1802.01561); for engines that differ, Yao et al.
    2025, "Your efficient RL framework secretly brings you off-policy RL training".

    Args:
        log_probs: (B, T), log π.
        behaviour_log_probs: (B, T), log μ.
        mask: (B, T) bool, True = chosen by μ.
        max_weight: c, above 0.

    Returns:
        (B, T), 0 where the mask is False, without gradient.

    Raises:
        ValueError: If c is not above 0.

    Example:
        >>> zeros, mask = torch.zeros(1, 2), torch.tensor([[True, True]])
        >>> truncated_importance_weights(torch.tensor([[-0.5, 9.0]]), zeros, mask, 2.0)
        tensor([[0.6065, 2.0000]])
    """
    if not max_weight > 0:
        raise ValueError(f"max_weight must be above 0, but is {max_weight!r}")
    ratio = (log_probs - behaviour_log_probs).exp()
    return torch.where(mask, ratio.clamp(max=max_weight), 0)


@torch.no_grad()
def truncated_text_weights(
    log_probs: Tensor, behaviour_log_probs: Tensor, mask: Tensor, max_weight: float
) -> Tensor:
    """Compute min(Π_t ρ_t, c), the weight of a whole text that a policy μ sampled.

    Multiply the advantages of texts by it where each is one action. Below c the weighted mean over
    texts of μ is the mean over those of π.

    Source: as of `truncated_importance_weights`.

    Args:
        log_probs: (B, T), log π.
        behaviour_log_probs: (B, T), log μ.
        mask: (B, T) bool, True = chosen by μ.
        max_weight: c, above 0.

    Returns:
        (B, T), the same at all tokens of a text, 0 where the mask is False, without gradient.

    Raises:
        ValueError: If c is not above 0.

    Example:
        >>> zeros, mask = torch.zeros(1, 2), torch.tensor([[True, True]])
        >>> truncated_text_weights(torch.tensor([[-0.5, 0.5]]), zeros, mask, 2.0)
        tensor([[1., 1.]])
    """
    log_ratio = masked_sum(log_probs - behaviour_log_probs, mask, dim=1)[:, None]
    whole = log_ratio.expand(mask.shape)
    return truncated_importance_weights(whole, torch.zeros_like(whole), mask, max_weight)


def clipped_weight_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    max_weight: float,
    *,
    n_tokens: float | None = None,
) -> PolicyLoss:
    """Compute the loss of CISPO: -(1/n) Σ sg(min(ρ, c)) A log π.

    The weight is clipped, not the token's part in the gradient: no token is ever left out, however
    far its probability has moved. sg stops the gradient.

    Source: MiniMax-M1 (2025, arXiv:2506.13585, equations 4 and 5), where c = 1 + ε_high and, as
    here, no bound is set from below.

    Args:
        log_probs: (B, T), under the policy being trained, with gradient.
        old_log_probs: (B, T), under the policy that sampled.
        advantages: (B, T).
        mask: (B, T) bool, True = chosen by the policy.
        max_weight: c, above 0.
        n_tokens: What the sum over the whole optimiser step is divided by; None means the tokens of
            `mask`.

    Returns:
        The loss with its statistics; `clip_fraction` is the share of tokens whose weight was
        clipped.

    Raises:
        ValueError: If nothing is counted, a shape does not fit, c is not above 0, or `n_tokens` is
            not above 0.
    """
    weights = truncated_importance_weights(log_probs, old_log_probs, mask, max_weight)
    loss = policy_gradient_loss(log_probs, weights * advantages, mask, n_tokens=n_tokens)
    return PolicyLoss(loss, masked_mean((weights >= max_weight).to(loss.dtype), mask))


def sequence_surrogate_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip_range: float,
    *,
    clip_range_high: float | None = None,
    per_token: bool = True,
    n_sequences: float | None = None,
) -> PolicyLoss:
    """Compute the clipped surrogate with one ratio per text: -(1/n) Σ min(s A, clip(s) A).

    s = exp(1/|y| Σ_t (log π - log π_old)), the geometric mean of the tokens' ratios: GSPO. Without
    `per_token`, s = exp(Σ_t ...), the ratio of the texts' probabilities: PPO on whole texts, as in
    RLOO. In both a text is clipped whole or not at all. GSPO's variant with a ratio for each token
    has the same value and gradient, the advantage being the text's.

    Source: GSPO (Zheng et al. 2025, arXiv:2507.18071, equations 5 and 7), with ε = 3e-4 and ε_high
    = 4e-4; RLOO (Ahmadian et al. 2024, arXiv:2402.14740).

    Args:
        log_probs: (B, T), under the policy being trained, with gradient.
        old_log_probs: (B, T), under the policy that sampled.
        advantages: (B,), of the texts.
        mask: (B, T) bool, True = chosen by the policy.
        clip_range: ε.
        clip_range_high: ε_high; None means ε.
        per_token: Take the mean of the log-ratios instead of their sum.
        n_sequences: Texts of the whole optimiser step; None means those of `mask` with a token.

    Returns:
        The loss, with statistics over texts: their ratio is s.

    Raises:
        ValueError: If nothing is counted, a shape does not fit, or `n_sequences` is not above 0.
    """
    log_ratio = masked_sum(log_probs - old_log_probs, mask, dim=1)
    if per_token:
        log_ratio = log_ratio / mask.sum(dim=1).clamp(min=1)
    return clipped_surrogate_loss(
        log_ratio,
        torch.zeros_like(log_ratio),
        advantages,
        mask.any(dim=1),
        clip_range,
        clip_range_high=clip_range_high,
        n_tokens=n_sequences,
    )
