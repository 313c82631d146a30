"""ACER's policy gradient: truncated importance weights, what they leave out, and a trust region.

Everything is per token, over the whole vocabulary: the correction needs to know what the behaviour
policy thought of *every* token, not of the chosen one only. This module does not know where
behaviour log-probs were kept, nor the value function.
"""

from __future__ import annotations

import torch
from torch import Tensor


def bias_corrected_objective(
    log_probs: Tensor,
    behaviour_log_probs: Tensor,
    actions: Tensor,
    q_values: Tensor,
    targets: Tensor,
    max_weight: float,
) -> Tensor:
    """Compute per token what is maximised; its gradient is ACER's.

    With ρ = π / μ, V = Σ_a π(a) Q(a), sg stopping the gradient, and a the action of the text::

        sg[min(c, ρ(a)) (Q^ret - V)] log π(a) + Σ_b sg[(1 - c/ρ(b))₊ π(b) (Q(b) - V)] log π(b)

    The first term's weight is bounded by c; what that cuts off, the second replaces by its
    expectation under π, with Q for Q^ret. Where Q is right, the expected gradient over actions of μ
    does not depend on c.

    Source: ACER (Wang et al. 2017, arXiv:1611.01224, equation 9), where c = 10.

    Args:
        log_probs: (B, T, V), log π, normalised, with gradient; -inf, or a large negative number,
            where excluded.
        behaviour_log_probs: (B, T, V), log μ, of the policy that wrote the text.
        actions: (B, T), the tokens of the text.
        q_values: (B, T, V), Q.
        targets: (B, T), Q^ret of the tokens of the text.
        max_weight: c, above 0.

    Returns:
        (B, T): to be summed over chosen tokens and maximised.

    Raises:
        ValueError: If c is not above 0.
    """
    if not max_weight > 0:
        raise ValueError(f"max_weight must be above 0, but is {max_weight!r}")
    possible = log_probs.detach().exp() > 0
    log_probs = torch.where(possible, log_probs, 0)
    with torch.no_grad():
        probs = torch.where(possible, log_probs.exp(), 0)
        advantages = q_values - (probs * q_values).sum(dim=-1, keepdim=True)
        inverse_ratios = (torch.where(possible, behaviour_log_probs, 0) - log_probs).exp()
        corrections = (1 - max_weight * inverse_ratios).clamp(min=0) * probs * advantages
        chosen = actions.unsqueeze(-1)
        weights = (1 / inverse_ratios.gather(-1, chosen).squeeze(-1)).clamp(max=max_weight)
        values = (probs * q_values).sum(dim=-1)
    truncated = weights * (targets - values) * log_probs.gather(-1, chosen).squeeze(-1)
    return truncated + (corrections * log_probs).sum(dim=-1)


def trust_region_projection(gradient: Tensor, kl_gradient: Tensor, max_kl: float) -> Tensor:
    """Bend a direction of ascent until it hardly adds to KL: g - max(0, (k·g - δ)/‖k‖²) k.

    The vector nearest to g whose product with k is at most δ. Both are gradients with respect to
    the statistics of one token's distribution, such as its logits, for which that of
    KL(π_avg ‖ π) is π - π_avg; the result is what is propagated back to the parameters.

    Source: ACER (Wang et al. 2017, arXiv:1611.01224, equation 12), where δ = 1 and π_avg is a
    running average of the policy.

    Args:
        gradient: g, (..., V), of the objective.
        kl_gradient: k, (..., V), of the KL divergence from the averaged policy.
        max_kl: δ, at least 0; infinity gives back g.

    Returns:
        (..., V).

    Raises:
        ValueError: If δ is below 0.

    Example:
        >>> trust_region_projection(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 0.0]), 1.0)
        tensor([1., 1.])
    """
    if not max_kl >= 0:
        raise ValueError(f"max_kl must be at least 0, but is {max_kl!r}")
    excess = ((kl_gradient * gradient).sum(dim=-1, keepdim=True) - max_kl).clamp(min=0)
    squared_norm = kl_gradient.square().sum(dim=-1, keepdim=True)
    # Without a gradient of KL nothing is in excess, and 0 / 0 would not be 0.
    return gradient - torch.where(squared_norm > 0, excess / squared_norm, 0) * kl_gradient
