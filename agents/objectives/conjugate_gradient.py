"""Conjugate gradient: solving A x = b where only products with A can be had.

Knows nothing of policies: A is a function of vectors.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradient(
    product: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    max_iterations: int,
    tolerance: float = 1e-5,
) -> Tensor:
    """Solve A x = b for a symmetric positive definite A, from x = 0.

    In exact arithmetic n iterations solve n equations; far fewer are enough where the eigenvalues
    of A are clustered.

    Source: Hestenes and Stiefel 1952, https://doi.org/10.6028/jres.049.044.

    Args:
        product: Multiplies a vector (n,) by A.
        b: (n,).
        max_iterations: Most products that are computed.
        tolerance: Stop where ‖b - A x‖ ≤ tolerance ‖b‖.

    Returns:
        x, (n,). 0 if b is.

    Raises:
        ValueError: If A turns out not to be positive definite.

    Example:
        >>> A, b = torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([2.0, 2.0])
        >>> conjugate_gradient(A.mv, b, max_iterations=2)
        tensor([1.0000, 0.5000])
    """
    x = torch.zeros_like(b)
    residual, direction = b, b
    squared_norm = b.dot(b)
    enough = tolerance**2 * squared_norm
    for _ in range(max_iterations):
        if squared_norm <= enough:
            break
        image = product(direction)
        curvature = direction.dot(image)
        if not curvature > 0:
            raise ValueError(
                f"product must be by a positive definite matrix, but a direction has the curvature "
                f"{curvature.item():g}"
            )
        length = squared_norm / curvature
        x = x + length * direction
        residual = residual - length * image
        previous, squared_norm = squared_norm, residual.dot(residual)
        direction = residual + squared_norm / previous * direction
    return x
