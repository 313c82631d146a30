"""TRPO's mathematics: conjugate gradients, Fisher products, the longest step, the line search."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from agents.objectives.kl import exact_kl
from agents.objectives.trust_region import (
    backtracking_line_search,
    conjugate_gradient,
    fisher_vector_product,
    flat_gradient,
    longest_step,
)

DTYPE = torch.float64


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)


def positive_definite(n: int) -> Tensor:
    root = normal(0, n, n)
    return root @ root.T + torch.eye(n, dtype=DTYPE)


# Conjugate gradient


def test_n_iterations_solve_n_equations() -> None:
    matrix, b = positive_definite(6), normal(1, 6)
    found = conjugate_gradient(matrix.mv, b, max_iterations=6, tolerance=0)
    assert_close(found, torch.linalg.solve(matrix, b), rtol=0, atol=1e-10)


def test_it_stops_when_the_residual_is_small_enough() -> None:
    matrix, b = positive_definite(30), normal(1, 30)
    calls = []

    def product(vector: Tensor) -> Tensor:
        calls.append(vector)
        return matrix @ vector

    found = conjugate_gradient(product, b, max_iterations=30, tolerance=0.1)
    assert 0 < len(calls) < 30
    assert (b - matrix @ found).norm() <= 0.1 * b.norm()


def test_each_iteration_is_the_best_in_its_subspace() -> None:
    """Of all combinations of b and A b, the second iterate has the smallest error in A's norm."""
    matrix, b = positive_definite(6), normal(1, 6)
    found = conjugate_gradient(matrix.mv, b, max_iterations=2, tolerance=0)
    basis = torch.stack([b, matrix @ b], dim=1)
    best = basis @ torch.linalg.solve(basis.T @ matrix @ basis, basis.T @ b)
    assert_close(found, best, rtol=0, atol=1e-10)


def test_no_gradient_gives_no_direction() -> None:
    found = conjugate_gradient(torch.eye(3).mv, torch.zeros(3), max_iterations=5)
    assert found.tolist() == [0, 0, 0]


def test_a_matrix_with_negative_curvature_is_refused() -> None:
    with pytest.raises(ValueError, match=r"positive definite .* curvature -1"):
        conjugate_gradient(lambda v: -v, torch.tensor([1.0]), max_iterations=5)


# Fisher products


class Categorical(nn.Module):
    """A small network with a hidden layer, and a parameter that has no part in the policy."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        shapes = ((4, 3), (3, 5))
        self.layers = nn.ParameterList(
            torch.randn(*shape, generator=generator, dtype=DTYPE) for shape in shapes
        )
        self.unused = nn.Parameter(torch.ones(2, dtype=DTYPE))

    def forward(self, states: Tensor) -> Tensor:
        return ((states @ self.layers[0]).tanh() @ self.layers[1]).log_softmax(-1)


def explicit_fisher(policy: Categorical, states: Tensor) -> Tensor:
    """The mean over states of E_a[∇log π ∇log πᵀ]."""
    parameters = list(policy.parameters())
    log_probs = policy(states)
    total = torch.zeros(1, dtype=DTYPE)
    for log_prob in log_probs.flatten():
        score = flat_gradient(log_prob, parameters)
        total = total + log_prob.exp().detach() * score.outer(score) / len(states)
    return total


def test_product_is_that_of_the_explicit_fisher_matrix() -> None:
    policy, states = Categorical(), normal(1, 7, 4)
    log_probs = policy(states)
    kl = exact_kl(log_probs.detach(), log_probs).mean()
    product = fisher_vector_product(kl, list(policy.parameters()), damping=0.1)
    matrix = explicit_fisher(policy, states)
    vector = normal(2, len(matrix))
    assert_close(product(vector), matrix @ vector + 0.1 * vector, rtol=0, atol=1e-12)
    assert_close(product(vector), product(vector), rtol=0, atol=0)


def test_negative_damping_is_refused() -> None:
    with pytest.raises(ValueError, match=r"damping must be at least 0, but is -0.1"):
        fisher_vector_product(torch.zeros(()), [], damping=-0.1)


# The step


def test_longest_step_ends_at_the_edge_of_a_quadratic_region() -> None:
    matrix, gradient = positive_definite(6), normal(1, 6)
    direction = conjugate_gradient(matrix.mv, gradient, max_iterations=6, tolerance=0)
    step = longest_step(direction, matrix @ direction, max_kl=0.01)
    assert (0.5 * step @ matrix @ step).item() == pytest.approx(0.01)
    others = normal(2, 1000, 6)
    others = others * (0.02 / ((others @ matrix) * others).sum(1, keepdim=True)).sqrt()
    assert (others @ gradient).max() < step @ gradient


def test_a_direction_without_curvature_is_refused() -> None:
    zeros = torch.zeros(2)
    with pytest.raises(ValueError, match=r"direction·image must be above 0, but is 0\.0"):
        longest_step(zeros, zeros, max_kl=0.1)
    with pytest.raises(ValueError, match="max_kl must be above 0, but is 0"):
        longest_step(zeros + 1, zeros + 1, max_kl=0)


# The line search


def search(objectives: list[float], kls: list[float]) -> tuple[float, list[float]]:
    tried: list[float] = []

    def evaluate(factor: float) -> tuple[float, float]:
        tried.append(factor)
        return objectives[len(tried) - 1], kls[len(tried) - 1]

    found = backtracking_line_search(
        evaluate, 1.0, max_kl=0.5, shrink=0.5, max_trials=len(objectives)
    )
    return found.factor, tried


def test_the_first_share_that_improves_within_the_region_is_taken() -> None:
    factor, tried = search([0.9, math.nan, 2.0, 3.0, 4.0], [0.1, 0.1, 0.5, 0.4, 0.1])
    assert factor == 0.125
    assert tried == [1.0, 0.5, 0.25, 0.125]


def test_nothing_is_taken_where_nothing_improves() -> None:
    factor, tried = search([1.0, 2.0], [0.1, math.nan])
    assert factor == 0
    assert len(tried) == 2


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"max_kl": 0.0}, "max_kl must be above 0, but is 0.0"),
        ({"shrink": 1.0}, "shrink must be above 0 and below 1, but is 1.0"),
        ({"max_trials": 0}, "max_trials must be at least 1, but is 0"),
    ],
)
def test_bad_arguments_of_the_line_search_are_named(
    argument: dict[str, float], message: str
) -> None:
    settings = {"max_kl": 1.0, "shrink": 0.5, "max_trials": 1} | argument
    with pytest.raises(ValueError, match=message):
        backtracking_line_search(lambda x: (x, x), 0.0, **settings)
