"""Aggregation: how much each token weighs in the loss of an optimiser step.

Every policy loss is a sum over tokens divided by one number that belongs to the whole step. Three
kinds of average differ in both:

- ``"token"``: Σ / tokens of the step. Every token weighs the same.
- ``"sequence"``: the mean over texts of each text's mean. Tokens of long texts weigh less.
- ``"constant"``: Σ / (texts of the step x max_tokens). Every token weighs the same, and that weight
  does not depend on how long the texts of this step happen to be.

All policy losses are homogeneous in the advantages, so tokens are weighed by weighing those:
`loss(..., weighted(advantages, mask, kind), mask, n_tokens=normaliser(kind, ...))`.

This module does not know what is being averaged.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["token", "sequence", "constant"]


def weighted(x: Tensor, mask: Tensor, aggregation: Aggregation) -> Tensor:
    """Weigh each token: by 1 / (tokens of its text) for ``"sequence"``, by 1 for the others.

    Source: ``"sequence"`` from GRPO (Shao et al. 2024, arXiv:2402.03300, equation 3), ``"token"``
    from DAPO (Yu et al. 2025, arXiv:2503.14476, equation 8), ``"constant"`` from Dr. GRPO (Liu et
    al. 2025, arXiv:2503.20783).

    Args:
        x: (B, T), advantages or terms of a loss.
        mask: (B, T) bool, True = chosen by the policy.
        aggregation: The kind of average.

    Returns:
        (B, T), 0 where the mask is False.

    Raises:
        ValueError: If the kind is none of the three.

    Example:
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> weighted(torch.ones(2, 2), mask, "sequence")
        tensor([[0.5000, 0.5000],
                [1.0000, 0.0000]])
    """
    counted = torch.where(mask, x, 0)
    match aggregation:
        case "sequence":
            return counted / mask.sum(dim=1, keepdim=True).clamp(min=1)
        case "token" | "constant":
            return counted
    raise _unknown(aggregation)


def normaliser(
    aggregation: Aggregation, *, n_tokens: int, n_sequences: int, max_tokens: int
) -> int:
    """Tell what the weighted sum over a whole optimiser step is divided by.

    Args:
        aggregation: The kind of average.
        n_tokens: Counted tokens of the step.
        n_sequences: Texts of the step, those in which nothing counts included.
        max_tokens: Most tokens that a completion may have.

    Raises:
        ValueError: If the kind is none of the three.

    Example:
        >>> normaliser("constant", n_tokens=3, n_sequences=2, max_tokens=10)
        20
    """
    match aggregation:
        case "token":
            return n_tokens
        case "sequence":
            return n_sequences
        case "constant":
            return n_sequences * max_tokens
    raise _unknown(aggregation)


def without_truncated(mask: Tensor, truncated: Tensor) -> Tensor:
    """Let no token count of the texts that were cut off (overlong filtering).

    What such a text would have been worth is not known; paying it as if it had ended teaches that
    its beginning was bad. It still belongs to its group, and to the texts of the step.

    Source: DAPO (Yu et al. 2025, arXiv:2503.14476, section 3.4).

    Args:
        mask: (B, T) bool, True = chosen by the policy.
        truncated: (B,) bool, True = cut off.

    Returns:
        (B, T) bool.

    Raises:
        ValueError: If `truncated` is not one bool per text.
    """
    if truncated.shape != mask.shape[:1] or truncated.dtype != torch.bool:
        raise ValueError(
            f"truncated must be {len(mask)} bools, one per text, but is {truncated.dtype} of shape "
            f"{tuple(truncated.shape)}"
        )
    return mask & ~truncated[:, None]


def _unknown(aggregation: object) -> ValueError:
    return ValueError(
        f"aggregation must be 'token', 'sequence' or 'constant', but is {aggregation!r}"
    )
