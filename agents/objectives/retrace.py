"""Retrace: action values from texts that another policy wrote.

Pure recursion from right to left. It does not know the value function, nor who wrote the text; a KL
penalty is already in the rewards, and for replayed texts it is the present policy's.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def retrace_targets(
    rewards: Tensor,
    q_values: Tensor,
    values: Tensor,
    ratios: Tensor,
    mask: Tensor,
    bootstrap_values: Tensor,
    *,
    gamma: float = 1.0,
) -> Tensor:
    """Compute Q^ret of each chosen token.

    With t⁺ the next counted position after t::

        Q^ret_t = r_t + γ V_t⁺ + γ min(1, ρ_t⁺) (Q^ret_t⁺ - Q_t⁺)

    After the last counted position V_t⁺ is the bootstrap value and the last term is 0. Ratios are
    per token and never multiplied beyond what the recursion does, so the variance stays finite
    whatever policy wrote the text; where ρ ≥ 1 throughout and V = Q it is the Monte Carlo return.

    Source: Munos et al. 2016, "Safe and efficient off-policy reinforcement learning",
    arXiv:1606.02647; in this form ACER (Wang et al. 2017, arXiv:1611.01224, equation 5).

    Args:
        rewards: (B, T), paid for the action at t.
        q_values: (B, T), Q of the action at t.
        values: (B, T), Σ_a π(a) Q(a) of the state in which the action at t was chosen.
        ratios: (B, T), ρ = π / μ of the action at t, μ being the policy that wrote the text.
        mask: (B, T) bool, True = counts.
        bootstrap_values: (B,), V of the state after the last counted position where the episode
            was truncated, 0 where it terminated.
        gamma: Discount γ per counted position; below 1 it discounts what is paid at the end.

    Returns:
        (B, T), 0 where the mask is False, without gradient.

    Raises:
        ValueError: If the shapes do not fit together.

    Example:
        >>> retrace_targets(
        ...     rewards=torch.tensor([[0.0, 1.0]]),
        ...     q_values=torch.tensor([[0.0, 0.5]]),
        ...     values=torch.tensor([[0.0, 0.25]]),
        ...     ratios=torch.tensor([[1.0, 0.5]]),
        ...     mask=torch.tensor([[True, True]]),
        ...     bootstrap_values=torch.zeros(1),
        ... )
        tensor([[0.5000, 1.0000]])
    """
    for name, tensor, shape in (
        ("q_values", q_values, rewards.shape),
        ("values", values, rewards.shape),
        ("ratios", ratios, rewards.shape),
        ("mask", mask, rewards.shape),
        ("bootstrap_values", bootstrap_values, rewards.shape[:1]),
    ):
        if tensor.shape != shape:
            raise ValueError(
                f"{name} must have shape {tuple(shape)} to fit rewards of shape "
                f"{tuple(rewards.shape)}, but has {tuple(tensor.shape)}"
            )
    targets = torch.zeros_like(rewards)
    corrections = ratios.clamp(max=1)
    future = bootstrap_values
    for t in reversed(range(mask.shape[1])):
        target = rewards[:, t] + gamma * future
        corrected = values[:, t] + corrections[:, t] * (target - q_values[:, t])
        targets[:, t] = target
        future = torch.where(mask[:, t], corrected, future)
    return torch.where(mask, targets, 0)
