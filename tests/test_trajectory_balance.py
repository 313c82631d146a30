"""Trajectory balance: zero at the optimum, and the gradient of REINFORCE on the policy's texts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from agents.objectives.credit import leave_one_out_advantages
from agents.objectives.trajectory_balance import (
    group_log_z,
    trajectory_balance_loss,
    trajectory_balance_residuals,
)

BETA = 0.3
N = 6


@pytest.fixture
def rewards() -> Tensor:
    return torch.randn(N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def reference() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(N, generator=generator, dtype=torch.float64).log_softmax(0)


def residuals_of(
    log_probs: Tensor, reference: Tensor, rewards: Tensor, texts: Tensor, group_ids: Tensor
) -> Tensor:
    """Residuals of texts of one token each."""
    chosen, ref_chosen = log_probs[texts], reference[texts]
    log_z = group_log_z((chosen - ref_chosen).detach(), rewards[texts], group_ids, BETA)
    mask = torch.ones(len(texts), 1).bool()
    return trajectory_balance_residuals(
        chosen[:, None], ref_chosen[:, None], mask, rewards[texts], log_z, BETA
    )


def test_all_residuals_are_0_at_the_optimum_whoever_wrote_the_texts(
    rewards: Tensor, reference: Tensor
) -> None:
    optimum = (reference + rewards / BETA).log_softmax(0)
    texts = torch.tensor([0, 0, 3, 5, 1, 2])
    found = residuals_of(optimum, reference, rewards, texts, torch.tensor([0, 1, 0, 1, 0, 1]))
    assert_close(found, torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-12)


def test_log_z_at_the_optimum_is_that_of_the_partition_function(
    rewards: Tensor, reference: Tensor
) -> None:
    tilted = reference + rewards / BETA
    optimum = tilted.log_softmax(0)
    found = group_log_z(optimum - reference, rewards, torch.zeros(N).long(), BETA)
    assert_close(found, tilted.logsumexp(0).expand(N))


def test_a_residual_is_the_log_ratio_to_the_optimum(rewards: Tensor, reference: Tensor) -> None:
    policy = torch.randn(N, generator=torch.Generator().manual_seed(2)).double().log_softmax(0)
    tilted = reference + rewards / BETA
    found = trajectory_balance_residuals(
        policy[:, None],
        reference[:, None],
        torch.ones(N, 1).bool(),
        rewards,
        tilted.logsumexp(0).expand(N),
        BETA,
    )
    assert_close(found, policy - tilted.log_softmax(0))


def test_expected_gradient_on_policy_is_that_of_the_objective(
    rewards: Tensor, reference: Tensor
) -> None:
    """With the true log Z, or any constant, over all texts with their probabilities."""
    z = torch.randn(N, generator=torch.Generator().manual_seed(3)).double().requires_grad_()
    log_probs = z.log_softmax(0)
    objective = (log_probs.exp() * (rewards - BETA * (log_probs - reference))).sum()
    wanted = torch.autograd.grad(-objective, z, retain_graph=True)[0]
    residuals = trajectory_balance_residuals(
        log_probs[:, None],
        reference[:, None],
        torch.ones(N, 1).bool(),
        rewards,
        torch.full((N,), 0.7, dtype=torch.float64),
        BETA,
    )
    expected = BETA / 2 * (log_probs.exp().detach() * residuals.square()).sum()
    assert_close(torch.autograd.grad(expected, z)[0], wanted, rtol=0, atol=1e-12)


def test_gradient_is_a_share_of_leave_one_out_with_kl_in_the_reward(
    rewards: Tensor, reference: Tensor
) -> None:
    z = torch.randn(N, generator=torch.Generator().manual_seed(3)).double().requires_grad_()
    log_probs = z.log_softmax(0)
    texts, group_ids = torch.tensor([0, 1, 2, 3, 4, 5]), torch.tensor([0, 0, 0, 1, 1, 1])
    residuals = residuals_of(log_probs, reference, rewards, texts, group_ids)
    found = torch.autograd.grad(trajectory_balance_loss(residuals, BETA), z, retain_graph=True)[0]
    penalised = (rewards - BETA * (log_probs - reference)).detach()
    advantages = leave_one_out_advantages(penalised, group_ids)
    loss = -(advantages * log_probs).mean()
    assert_close(found, torch.autograd.grad(loss, z)[0] * 2 / 3, rtol=0, atol=1e-12)


def test_log_probs_are_summed_over_chosen_tokens() -> None:
    log_probs = torch.tensor([[-1.0, -2.0, torch.nan]], requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    found = trajectory_balance_residuals(
        log_probs, torch.full((1, 3), -2.0), mask, torch.tensor([3.0]), torch.tensor([5.0]), 0.5
    )
    assert found.item() == pytest.approx(5 + 1 + 0 - 6)
    assert torch.autograd.grad(found.sum(), log_probs)[0].tolist() == [[1.0, 1.0, 0.0]]


def test_micro_batches_add_up() -> None:
    residuals = torch.tensor([1.0, 2.0, 3.0])
    parts = [trajectory_balance_loss(part, BETA, n_sequences=3) for part in residuals.split(2)]
    assert_close(torch.stack(parts).sum(), trajectory_balance_loss(residuals, BETA))


def test_bad_arguments_are_named() -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match="kl_coef must be above 0, but is 0"):
        group_log_z(one, one, torch.zeros(1).long(), 0)
    with pytest.raises(ValueError, match="group 4 has 1"):
        group_log_z(one, one, torch.tensor([4]), BETA)
    with pytest.raises(ValueError, match="n_sequences must be above 0, but is 0"):
        trajectory_balance_loss(one, BETA, n_sequences=0)
    with pytest.raises(ValueError, match=r"one number per text, \(1,\).*\(2,\)"):
        trajectory_balance_residuals(
            one[:, None], one[:, None], one[:, None].bool(), torch.ones(2), torch.ones(2), BETA
        )
