"""The trust region of TRPO: Fisher products, conjugate gradient, the longest step, the line search.

The region is KL(π_old ‖ π) ≤ δ, averaged as the caller averages it: per token or per text is the
caller's choice, and δ is in the same units. This module knows neither the policy nor the
parameters' shapes: a vector (n,) is all of them, one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector


class LineSearch(NamedTuple):
    """What a line search found.

    Attributes:
        factor: The share of the full step that was accepted, 0 if none was.
        objective: The surrogate objective there, NaN if none was accepted.
        kl: KL(π_old ‖ π) there, NaN if none was accepted.
    """

    factor: float
    objective: float
    kl: float


def flat_gradient(
    scalar: Tensor, parameters: Sequence[Tensor], *, create_graph: bool = False
) -> Tensor:
    """Differentiate a scalar with respect to all parameters, as one vector (n,).

    A parameter that the scalar does not depend on gets 0. The scalar's graph is kept.
    """
    gradients = torch.autograd.grad(
        scalar,
        parameters,
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return parameters_to_vector(gradients)


def fisher_vector_product(
    kl: Tensor, parameters: Sequence[Tensor], *, damping: float = 0.0
) -> Callable[[Tensor], Tensor]:
    """Make a function that multiplies vectors by F + damping I.

    F v = ∇((∇KL)·v), KL being KL(π_old ‖ π) at π = π_old: there its second derivatives are the
    Fisher matrix of π. Twice differentiated, so attention must be of a kind that can be.

    Source: TRPO (Schulman et al. 2015, arXiv:1502.05477, appendix C).

    Args:
        kl: Scalar, with its graph, which is kept.
        parameters: What KL is differentiated by.
        damping: Added to the diagonal, at least 0: F is only positive semidefinite.

    Returns:
        A function of vectors (n,).

    Raises:
        ValueError: If `damping` is below 0.

    Example:
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> fisher_vector_product(x.square().sum(), [x], damping=0.5)(torch.tensor([1.0, 0.0]))
        tensor([2.5000, 0.0000])
    """
    if not damping >= 0:
        raise ValueError(f"damping must be at least 0, but is {damping!r}")
    gradient = flat_gradient(kl, parameters, create_graph=True)

    def product(vector: Tensor) -> Tensor:
        return flat_gradient(gradient.dot(vector), parameters) + damping * vector

    return product


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


def longest_step(direction: Tensor, image: Tensor, max_kl: float) -> Tensor:
    """Scale a direction to the edge of the trust region: √(2δ / sᵀFs) s.

    To second order KL(π_old ‖ π) is ½ xᵀFx after a step x.

    Source: TRPO (Schulman et al. 2015, arXiv:1502.05477, appendix C).

    Args:
        direction: s, (n,).
        image: F s, (n,), damping included or not.
        max_kl: δ, above 0.

    Returns:
        (n,).

    Raises:
        ValueError: If δ or sᵀFs is not above 0: the direction then changes nothing.

    Example:
        >>> longest_step(torch.tensor([2.0, 0.0]), torch.tensor([4.0, 0.0]), max_kl=0.25)
        tensor([0.5000, 0.0000])
    """
    curvature = direction.dot(image).item()
    for name, value in (("max_kl", max_kl), ("direction·image", curvature)):
        if not value > 0:
            raise ValueError(f"{name} must be above 0, but is {value!r}")
    return math.sqrt(2 * max_kl / curvature) * direction


def backtracking_line_search(
    evaluate: Callable[[float], tuple[float, float]],
    objective: float,
    *,
    max_kl: float,
    shrink: float = 0.8,
    max_trials: int = 10,
) -> LineSearch:
    """Find the largest share 1, shrink, shrink², ... of a step that improves within the region.

    A share is accepted if the objective has grown and KL < δ; NaN is never accepted. Whoever calls
    moves the parameters, and puts the old ones back, bit for bit, where nothing was accepted.

    Source: TRPO (Schulman et al. 2015, arXiv:1502.05477, appendix C); 0.8 and 10 are sb3-contrib's.

    Args:
        evaluate: Moves the parameters to start + share x step; returns objective and KL there.
        objective: The surrogate objective at the start.
        max_kl: δ, above 0.
        shrink: What a rejected share is multiplied by, above 0 and below 1.
        max_trials: Shares to be tried, at least 1.

    Returns:
        The share with what was measured there.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> backtracking_line_search(lambda x: (x, x * x), 0.0, max_kl=0.5, shrink=0.5).factor
        0.5
    """
    for name, value, rule, fulfilled in (
        ("max_kl", max_kl, "above 0", max_kl > 0),
        ("shrink", shrink, "above 0 and below 1", 0 < shrink < 1),
        ("max_trials", max_trials, "at least 1", max_trials >= 1),
    ):
        if not fulfilled:
            raise ValueError(f"{name} must be {rule}, but is {value!r}")
    for trial in range(max_trials):
        factor = shrink**trial
        improved, kl = evaluate(factor)
        if improved > objective and kl < max_kl:
            return LineSearch(factor, improved, kl)
    return LineSearch(0.0, math.nan, math.nan)
