"""Sums, means and variances over the positions that count.

Everything here takes a tensor and a boolean mask of the same shape (True = counts). What stands at
the other positions never matters, not even NaN, in the result or in its gradient.

This module knows nothing of tokens, rewards or policies: a mask is only a mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

_VARIANCE_FLOOR = 1e-8


def masked_sum(x: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Sum the counted elements: Σ xᵢ over mask.

    Halves, integers and booleans are accumulated, and returned, in float32. Nothing counted sums
    to 0.

    Args:
        x: Any shape.
        mask: Bool, the shape of `x`, True = counts.
        dim: The dimension to sum away; None sums over all of them.

    Returns:
        A scalar, or `x` without dimension `dim`.

    Raises:
        ValueError: If the shapes of `x` and `mask` differ.

    Example:
        >>> masked_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([True, False, True]))
        tensor(5.)
    """
    if mask.shape != x.shape:
        raise ValueError(
            f"mask must have the shape of x, {tuple(x.shape)}, but has {tuple(mask.shape)}"
        )
    return torch.where(mask, x, 0).sum(dim=dim, dtype=_accumulation_dtype(x))


def masked_mean(x: Tensor, mask: Tensor, dim: int | None = None) -> Tensor:
    """Average the counted elements: μ = (1/n) Σ xᵢ, n = number of counted elements.

    Args:
        x: Any shape.
        mask: Bool, the shape of `x`, True = counts.
        dim: The dimension to average away; None averages over all of them.

    Returns:
        A scalar, or `x` without dimension `dim`.

    Raises:
        ValueError: If nothing is counted (with `dim`: in any of the slices).

    Example:
        >>> masked_mean(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([True, False, True]))
        tensor(2.5000)
    """
    return masked_sum(x, mask, dim) / _counts(mask, dim, minimum=1)


def masked_var(
    x: Tensor, mask: Tensor, dim: int | None = None, *, unbiased: bool = False
) -> Tensor:
    """Compute the variance of the counted elements: (1/n) Σ (xᵢ - μ)².

    Args:
        x: Any shape.
        mask: Bool, the shape of `x`, True = counts.
        dim: The dimension to reduce; None reduces all of them.
        unbiased: Divide by n - 1 instead of n.

    Returns:
        A scalar, or `x` without dimension `dim`.

    Raises:
        ValueError: If fewer than one (`unbiased`: two) elements are counted in any slice.

    Example:
        >>> masked_var(torch.tensor([1.0, 9.0, 3.0]), torch.tensor([True, False, True]))
        tensor(1.)
    """
    divisor = _counts(mask, dim, minimum=2 if unbiased else 1) - int(unbiased)
    mean = masked_mean(x, mask, dim)
    deviations = torch.where(mask, x - (mean if dim is None else mean.unsqueeze(dim)), 0)
    return masked_sum(deviations.square(), mask, dim) / divisor


def whiten(x: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Scale the counted elements to variance 1 and, by default, shift them to mean 0.

    (x - μ) / √(σ² + 1e-8) with the population variance σ², plus μ if `shift_mean` is False.
    Advantages are whitened with the shift, rewards without it (a shift would change which texts
    are worth more than none). Equal elements become 0 (without the shift: stay).

    Source: `whiten` of openai/lm-human-preferences (Ziegler et al. 2019, arXiv:1909.08593).

    Args:
        x: Floating point, any shape.
        mask: Bool, the shape of `x`, True = counts.
        shift_mean: Move the mean to 0; False leaves it where it is.

    Returns:
        The shape and dtype of `x`, 0 where the mask is False.

    Raises:
        ValueError: If nothing is counted.

    Example:
        >>> whiten(torch.tensor([1.0, 3.0, 7.0]), torch.tensor([True, True, False]))
        tensor([-1.,  1.,  0.])
    """
    mean = masked_mean(x, mask)
    whitened = (x - mean) * torch.rsqrt(masked_var(x, mask) + _VARIANCE_FLOOR)
    if not shift_mean:
        whitened = whitened + mean
    return torch.where(mask, whitened, 0).to(x.dtype)


def _counts(mask: Tensor, dim: int | None, *, minimum: int) -> Tensor:
    counts = mask.sum(dim=dim)
    if bool((counts < minimum).any()):
        where = "in all" if dim is None else f"in each slice along dimension {dim}"
        raise ValueError(
            f"mask must count at least {minimum} element(s) {where}, but counts {counts.tolist()}"
        )
    return counts


def _accumulation_dtype(x: Tensor) -> torch.dtype:
    # The variance floor 1e-8 is 0 in float16, and 300 ones sum to 256 in bfloat16.
    return torch.promote_types(x.dtype, torch.float32)
