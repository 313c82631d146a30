"""Advantages: how much better each chosen token was than the policy expected.

This module turns rewards and values into advantages and returns. It does not know where rewards
come from (the KL penalty is already in them, see `agents.objectives.kl`) and it does not whiten
(`agents.objectives.masked.whiten`).
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def generalized_advantage_estimation(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    bootstrap_values: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> tuple[Tensor, Tensor]:
    """Estimate advantages and returns with GAE(λ), right to left over the counted positions.

    With t⁺ the next counted position after t::

        δ_t = r_t + γ V_t⁺ - V_t
        A_t = δ_t + γ λ A_t⁺
        R_t = A_t + V_t

    After the last counted position V_t⁺ is the bootstrap value and A_t⁺ is 0. Time passes only at
    counted positions: padding, prompts and gaps are stepped over without a discount, and what
    stands there is not read. λ = 0 is the one-step TD error, λ = 1 the Monte Carlo return minus
    the value.

    Source: Schulman et al. 2016, "High-dimensional continuous control using generalized advantage
    estimation", arXiv:1506.02438, equation 16.

    Args:
        rewards: (B, T), paid for the action at t.
        values: (B, T), V of the state in which the action at t was chosen.
        mask: (B, T) bool, True = counts. A row in which nothing counts comes out 0.
        bootstrap_values: (B,), V of the state after the last counted position where the episode
            was truncated, 0 where it terminated.
        gamma: Discount γ per counted position.
        gae_lambda: λ: 0 trusts the values, 1 trusts the rewards.

    Returns:
        Advantages and returns, (B, T) each, 0 where the mask is False, without gradient.

    Raises:
        ValueError: If the shapes do not fit together.

    Example:
        >>> advantages, returns = generalized_advantage_estimation(
        ...     rewards=torch.tensor([[0.0, 1.0, 0.0]]),
        ...     values=torch.tensor([[0.5, 0.5, 0.0]]),
        ...     mask=torch.tensor([[True, True, False]]),
        ...     bootstrap_values=torch.zeros(1),
        ...     gamma=1.0,
        ...     gae_lambda=0.5,
        ... )
        >>> advantages
        tensor([[0.2500, 0.5000, 0.0000]])
        >>> returns
        tensor([[0.7500, 1.0000, 0.0000]])
    """
    _require_shapes(rewards, values, mask, bootstrap_values)
    advantages = torch.zeros_like(values)
    next_value = bootstrap_values
    next_advantage = torch.zeros_like(bootstrap_values)
    for t in reversed(range(mask.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * gae_lambda * next_advantage
        next_advantage = torch.where(mask[:, t], advantage, next_advantage)
        next_value = torch.where(mask[:, t], values[:, t], next_value)
        advantages[:, t] = next_advantage
    return torch.where(mask, advantages, 0), torch.where(mask, advantages + values, 0)


def _require_shapes(
    rewards: Tensor, values: Tensor, mask: Tensor, bootstrap_values: Tensor
) -> None:
    for name, tensor, shape in (
        ("values", values, rewards.shape),
        ("mask", mask, rewards.shape),
        ("bootstrap_values", bootstrap_values, rewards.shape[:1]),
    ):
        if tensor.shape != shape:
            raise ValueError(
                f"{name} must have shape {tuple(shape)} to fit rewards of shape "
                f"{tuple(rewards.shape)}, but has {tuple(tensor.shape)}"
            )
