"""The losses of PPO: policy, value and entropy, per optimiser step.

Each is a sum over counted tokens divided by `n_tokens`, the tokens of the *whole* optimiser step.
Given the same `n_tokens`, the losses and gradients of micro-batches add up to exactly those of the
full batch, however it is split. None divides by the batch's own count: right when there is one.

This module does not know the model, the coefficients that weigh the losses, or how advantages came
to be. Clip fractions are scalars without gradient, over the counted positions of the call.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.objectives.masked import masked_mean, masked_sum

MAX_LOG_RATIO = 20.0
"""Beyond which a ratio grows no more, either way."""


class PolicyLoss(NamedTuple):
    """A surrogate loss, and how often clipping decided it.

    Attributes:
        loss: Scalar to minimise.
        clip_fraction: Share of ratios outside the clip range, whichever way the advantage points.
    """

    loss: Tensor
    clip_fraction: Tensor


class ValueLoss(NamedTuple):
    """The value loss, and how often clipping decided it.

    Attributes:
        loss: Scalar to minimise.
        clip_fraction: Share of tokens at which the clipped error is the larger one.
    """

    loss: Tensor
    clip_fraction: Tensor


def clipped_surrogate_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip_range: float,
    *,
    clip_range_high: float | None = None,
    dual_clip: float | None = None,
    n_tokens: float | None = None,
) -> PolicyLoss:
    """Compute PPO's policy loss: -(1/n) Σ min(ρ A, clip(ρ, 1 - ε, 1 + ε_high) A).

    ρ = exp(clip(log π - log π_old, -20, 20)), so that a token that has become all but impossible,
    or certain, gives a large number and not an infinite one. Where a bound of the clip holds, the
    gradient is 0.

    With `dual_clip` = c, a token with A < 0 contributes at least c A to the objective, so that one
    huge ratio cannot swamp a step.

    Source: Schulman et al. 2017, "Proximal policy optimization algorithms", arXiv:1707.06347,
    equation 7; `clip_range_high` from DAPO (Yu et al. 2025, arXiv:2503.14476); `dual_clip` from
    Ye et al. 2020, arXiv:1912.09729.

    Args:
        log_probs: (B, T), under the policy being trained, with gradient.
        old_log_probs: (B, T), under the policy that sampled.
        advantages: (B, T).
        mask: (B, T) bool, True = chosen by the policy.
        clip_range: ε.
        clip_range_high: ε_high; None means ε.
        dual_clip: c, above 1; None leaves negative advantages unbounded.
        n_tokens: Tokens of the whole optimiser step; None means those of `mask`.

    Returns:
        The loss with its statistics.

    Raises:
        ValueError: If nothing is counted, a shape does not fit, `dual_clip` is not above 1, or
            `n_tokens` is not above 0.

    Example:
        >>> zeros, ones = torch.zeros(1, 2), torch.ones(1, 2)
        >>> clipped_surrogate_loss(zeros, zeros, ones, ones.bool(), clip_range=0.2).loss
        tensor(-1.)
    """
    if dual_clip is not None and not dual_clip > 1:
        raise ValueError(f"dual_clip must be above 1, but is {dual_clip!r}")
    low, high = 1 - clip_range, 1 + (clip_range if clip_range_high is None else clip_range_high)
    # Masked here as well as in the sum: past a masked NaN the gradient would be 0 * NaN.
    log_ratio = torch.where(mask, log_probs - old_log_probs, 0)
    ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    objective = torch.minimum(ratio * advantages, ratio.clamp(low, high) * advantages)
    if dual_clip is not None:
        bounded = torch.maximum(objective, dual_clip * advantages)
        objective = torch.where(advantages < 0, bounded, objective)
    loss = token_mean(-objective, mask, n_tokens)
    with torch.no_grad():
        return PolicyLoss(loss, masked_mean((ratio < low) | (ratio > high), mask))


def clipped_value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    clip_range_vf: float | None,
    *,
    n_tokens: float | None = None,
) -> ValueLoss:
    """Compute the value loss: (1/n) Σ ½ max((V - R)², (clip(V, V_old - ε, V_old + ε) - R)²).

    Without a clip range, (1/n) Σ ½ (V - R)². The larger error counts, so clipping only ever takes
    gradient away: where the clipped error is the larger, the gradient is 0.

    Source: openai/lm-human-preferences, `train_policy.py` (Ziegler et al. 2019, arXiv:1909.08593).
    Stable-Baselines3 takes no maximum and has no factor ½.

    Args:
        values: (B, T), by the value function being trained, with gradient.
        old_values: (B, T), by the value function at the time of the rollout.
        returns: (B, T).
        mask: (B, T) bool, True = chosen by the policy.
        clip_range_vf: ε, in units of reward; None does not clip.
        n_tokens: Tokens of the whole optimiser step; None means those of `mask`.

    Returns:
        The loss with its clip fraction (0 without a clip range).

    Raises:
        ValueError: If nothing is counted, a shape does not fit, or `n_tokens` is not above 0.

    Example:
        >>> one, mask = torch.ones(1, 1), torch.tensor([[True]])
        >>> clipped_value_loss(3 * one, one, 0 * one, mask, clip_range_vf=None).loss
        tensor(4.5000)
    """
    squared_error = torch.where(mask, values - returns, 0).square()
    if clip_range_vf is None:
        largest = squared_error
    else:
        change = values - old_values
        clipped = old_values + change.clamp(-clip_range_vf, clip_range_vf)
        # Within the range `clipped` is `values` but for rounding, which must not count as clipping.
        counted = mask & (change.abs() > clip_range_vf)
        clipped_error = torch.where(counted, clipped - returns, 0).square()
        largest = torch.maximum(squared_error, clipped_error)
    return ValueLoss(
        loss=token_mean(0.5 * largest, mask, n_tokens),
        clip_fraction=masked_mean((largest > squared_error).detach(), mask),
    )


def entropy_loss(entropies: Tensor, mask: Tensor, *, n_tokens: float | None = None) -> Tensor:
    """Compute the entropy term of the loss: -(1/n) Σ H_t, which `ent_coef` multiplies.

    Negative, because the loss is minimised and entropy is rewarded.

    Source: Schulman et al. 2017, arXiv:1707.06347, equation 9.

    Args:
        entropies: (B, T), of the distribution each token was drawn from, in nats, with gradient.
        mask: (B, T) bool, True = chosen by the policy.
        n_tokens: Tokens of the whole optimiser step; None means those of `mask`.

    Returns:
        Scalar to minimise.

    Raises:
        ValueError: If nothing is counted and `n_tokens` is None, or `n_tokens` is not above 0.
    """
    return token_mean(-entropies, mask, n_tokens)


def token_mean(x: Tensor, mask: Tensor, n_tokens: float | None) -> Tensor:
    """Sum the counted elements, divided by `n_tokens` if given and by their number if not."""
    if n_tokens is None:
        return masked_mean(x, mask)
    if not n_tokens > 0:
        raise ValueError(f"n_tokens must be above 0, but is {n_tokens!r}")
    return masked_sum(x, mask) / n_tokens
