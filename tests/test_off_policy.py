"""Retrace and ACER's gradient: a chain solved exactly, and expectations over every action."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from agents.objectives.advantages import generalized_advantage_estimation
from agents.objectives.retrace import retrace_targets
from agents.objectives.truncated_importance import (
    bias_corrected_objective,
    trust_region_projection,
)

DTYPE = torch.float64


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)


# Retrace


def test_retrace_by_hand_over_a_gap() -> None:
    targets = retrace_targets(
        rewards=torch.tensor([[1.0, 99.0, 2.0]]),
        q_values=torch.tensor([[7.0, 99.0, 4.0]]),
        values=torch.tensor([[7.0, 99.0, 3.0]]),
        ratios=torch.tensor([[7.0, 99.0, 0.25]]),
        mask=torch.tensor([[True, False, True]]),
        bootstrap_values=torch.tensor([8.0]),
        gamma=0.5,
    )
    last = 2 + 0.5 * 8
    first = 1 + 0.5 * (3 + 0.25 * (last - 4))
    assert_close(targets, torch.tensor([[first, 0.0, last]]))


def test_on_policy_with_v_for_q_it_is_the_monte_carlo_return() -> None:
    rewards, values = normal(0, 3, 5), normal(1, 3, 5)
    mask = torch.rand(3, 5, generator=torch.Generator().manual_seed(2)) < 0.7
    bootstrap = normal(3, 3)
    ones = torch.ones_like(rewards)
    targets = retrace_targets(rewards, values, values, ones, mask, bootstrap, gamma=0.9)
    _, returns = generalized_advantage_estimation(
        rewards, values, mask, bootstrap, gamma=0.9, gae_lambda=1.0
    )
    assert_close(targets, returns, rtol=0, atol=1e-12)


def test_ratios_above_1_count_as_1() -> None:
    shape = normal(0, 2, 4)
    mask = torch.ones_like(shape).bool()
    arguments = (shape, normal(1, 2, 4), normal(2, 2, 4))
    found = [
        retrace_targets(*arguments, torch.full_like(shape, ratio), mask, torch.zeros(2).double())
        for ratio in (1.0, 5.0)
    ]
    assert_close(*found)


def two_steps() -> tuple[Tensor, Tensor, Tensor]:
    """The log-probs of two policies, (2, 3) by state, and what the last of two tokens is paid."""
    return normal(4, 2, 3).log_softmax(1), normal(5, 2, 3).log_softmax(1), normal(6, 3, 3)


@pytest.mark.parametrize("off_policy", [False, True])
@pytest.mark.parametrize("right_q", [False, True])
def test_expected_target_is_the_true_action_value(off_policy: bool, right_q: bool) -> None:
    """On-policy whatever Q says; off-policy once Q is right, and in between it contracts."""
    policy, other, paid = two_steps()
    behaviour = other if off_policy else policy
    true_q = (policy[1].exp() * paid).sum(1)
    later_q = paid if right_q else paid + normal(7, 3, 3)
    totals = torch.zeros(3, dtype=DTYPE)
    for first, second in itertools.product(range(3), repeat=2):
        target = retrace_targets(
            rewards=torch.stack([torch.zeros((), dtype=DTYPE), paid[first, second]])[None],
            q_values=torch.stack([torch.zeros((), dtype=DTYPE), later_q[first, second]])[None],
            values=torch.stack(
                [torch.zeros((), dtype=DTYPE), (policy[1].exp() * later_q[first]).sum()]
            )[None],
            ratios=torch.stack(
                [torch.ones((), dtype=DTYPE), (policy - behaviour)[1, second].exp()]
            )[None],
            mask=torch.ones(1, 2).bool(),
            bootstrap_values=torch.zeros(1, dtype=DTYPE),
        )[0, 0]
        totals[first] += behaviour[1, second].exp() * target
    error = (totals - true_q).abs().max()
    if right_q or not off_policy:
        assert error < 1e-12
    else:
        assert 0 < error < (later_q - paid).abs().max()


def test_shapes_that_do_not_fit_are_named() -> None:
    x, mask = torch.zeros(1, 2), torch.ones(1, 2).bool()
    with pytest.raises(ValueError, match=r"ratios must have shape \(1, 2\).* but has \(1, 3\)"):
        retrace_targets(x, x, x, torch.zeros(1, 3), mask, torch.zeros(1))


# The gradient


def expected_gradient(
    z: Tensor, behaviour: Tensor, q_values: Tensor, estimates: Tensor, max_weight: float
) -> Tensor:
    """The mean over all actions of the behaviour policy, one state, Q^ret being the true Q."""
    n = len(z)
    objective = bias_corrected_objective(
        z.log_softmax(0).expand(n, 1, n),
        behaviour.expand(n, 1, n),
        torch.arange(n)[:, None],
        estimates.expand(n, 1, n),
        q_values[:, None],
        max_weight,
    )
    return torch.autograd.grad((behaviour.exp()[:, None] * objective).sum(), z)[0]


@pytest.mark.parametrize("max_weight", [0.1, 0.8, 2.0, 1e9])
def test_with_the_right_q_the_gradient_is_exact_whatever_the_bound(max_weight: float) -> None:
    z, q_values = normal(0, 5).requires_grad_(), normal(1, 5)
    behaviour = normal(2, 5).log_softmax(0)
    wanted = torch.autograd.grad((z.softmax(0) * q_values).sum(), z)[0]
    found = expected_gradient(z, behaviour, q_values, q_values, max_weight)
    assert_close(found, wanted, rtol=0, atol=1e-14)


def test_without_a_bound_a_wrong_q_does_no_harm_and_with_one_it_does() -> None:
    z, q_values = normal(0, 5).requires_grad_(), normal(1, 5)
    behaviour, wrong = normal(2, 5).log_softmax(0), normal(3, 5)
    wanted = torch.autograd.grad((z.softmax(0) * q_values).sum(), z)[0]
    unbounded = expected_gradient(z, behaviour, q_values, wrong, 1e9)
    assert_close(unbounded, wanted, rtol=0, atol=1e-14)
    assert (expected_gradient(z, behaviour, q_values, wrong, 0.5) - wanted).abs().max() > 0.01


def test_weight_of_the_chosen_token_is_bounded() -> None:
    log_probs = torch.tensor([0.9, 0.1]).log().expand(1, 1, 2).clone().requires_grad_()
    objective = bias_corrected_objective(
        log_probs,
        torch.tensor([0.1, 0.9]).log().expand(1, 1, 2),
        torch.tensor([[0]]),
        torch.zeros(1, 1, 2),
        torch.tensor([[3.0]]),
        max_weight=2.0,
    )
    found = torch.autograd.grad(objective.sum(), log_probs)[0]
    assert_close(found, torch.tensor([[[2.0 * 3.0, 0.0]]]))


@pytest.mark.parametrize("excluded", [-torch.inf, torch.finfo(DTYPE).min])
def test_excluded_tokens_have_no_part(excluded: float) -> None:
    z, mask = normal(0, 4).requires_grad_(), torch.tensor([True, True, True, False])
    behaviour = normal(2, 4)
    objective = bias_corrected_objective(
        z.masked_fill(~mask, excluded).log_softmax(0).expand(1, 1, 4),
        behaviour.masked_fill(~mask, excluded).log_softmax(0).expand(1, 1, 4),
        torch.tensor([[1]]),
        normal(1, 4).expand(1, 1, 4),
        torch.ones(1, 1).double(),
        max_weight=0.5,
    )
    fewer = bias_corrected_objective(
        z[:3].log_softmax(0).expand(1, 1, 3),
        behaviour[:3].log_softmax(0).expand(1, 1, 3),
        torch.tensor([[1]]),
        normal(1, 4)[:3].expand(1, 1, 3),
        torch.ones(1, 1).double(),
        max_weight=0.5,
    )
    assert_close(objective, fewer)
    assert torch.autograd.grad(objective.sum(), z)[0].isfinite().all()


# The trust region


def test_projection_meets_the_constraint_with_the_smallest_change() -> None:
    g, k = normal(0, 7, 4), normal(1, 7, 4)
    found = trust_region_projection(g, k, 0.1)
    products = (found * k).sum(1)
    assert (products <= 0.1 + 1e-12).all()
    bound = (g * k).sum(1) > 0.1
    assert bound.any()
    assert not bound.all()
    assert_close(found[~bound], g[~bound], rtol=0, atol=0)
    assert_close(products[bound], torch.full_like(products[bound], 0.1))
    change = g - found  # along k, the normal of the constraint: no shorter change meets it
    assert_close(torch.linalg.vecdot(change, k).abs(), change.norm(dim=1) * k.norm(dim=1))


def test_without_a_bound_or_a_kl_gradient_nothing_is_bent() -> None:
    g = normal(0, 3, 4)
    assert_close(trust_region_projection(g, normal(1, 3, 4), torch.inf), g, rtol=0, atol=0)
    assert_close(trust_region_projection(g, torch.zeros(3, 4), 0.0), g, rtol=0, atol=0)
    with pytest.raises(ValueError, match="max_kl must be at least 0, but is -1"):
        trust_region_projection(g, g, -1)


def test_gradient_of_kl_by_logits_is_the_difference_of_probabilities() -> None:
    z, average = normal(0, 4).requires_grad_(), normal(1, 4).softmax(0)
    kl = (average * (average.log() - z.log_softmax(0))).sum()
    assert_close(torch.autograd.grad(kl, z)[0], z.softmax(0).detach() - average)
