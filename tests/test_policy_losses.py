"""Policy losses and their aggregation: by hand, by identities, and in micro-batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from agents.objectives.aggregation import (
    Aggregation,
    normaliser,
    weighted,
    without_truncated,
)
from agents.objectives.losses import clipped_surrogate_loss
from agents.objectives.policy_losses import (
    clipped_weight_loss,
    policy_gradient_loss,
    sequence_surrogate_loss,
    truncated_importance_weights,
)

AGGREGATIONS: tuple[Aggregation, ...] = ("token", "sequence", "constant")


class Batch(NamedTuple):
    log_probs: Tensor
    old_log_probs: Tensor
    advantages: Tensor
    mask: Tensor


def batch(seed: int = 0, size: int = 4, length: int = 6) -> Batch:
    """Make texts of several lengths, with NaN wherever nothing counts."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(3, size, length, generator=generator, dtype=torch.float64)
    mask = torch.arange(length) < torch.arange(1, size + 1)[:, None]
    log_probs, old, advantages = numbers.masked_fill(~mask, torch.nan)
    old = old.abs().neg()
    return Batch((old + 0.3 * log_probs).requires_grad_(), old, advantages, mask)


def gradient(loss: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(loss, x, retain_graph=True)[0]


# Aggregation


def test_aggregations_by_hand() -> None:
    x = torch.tensor([[2.0, 4.0, 9.0], [8.0, 9.0, 9.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    counts = {"n_tokens": 3, "n_sequences": 2, "max_tokens": 3}
    wanted = {"token": 14 / 3, "sequence": (3 + 8) / 2, "constant": 14 / 6}
    for kind in AGGREGATIONS:
        mean = weighted(x, mask, kind).sum() / normaliser(kind, **counts)
        assert mean.item() == pytest.approx(wanted[kind])


def test_a_text_without_tokens_weighs_nothing_and_is_counted() -> None:
    x = torch.tensor([[2.0], [8.0]])
    mask = torch.tensor([[True], [False]])
    assert_close(weighted(x, mask, "sequence"), torch.tensor([[2.0], [0.0]]))


def test_an_unknown_aggregation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"aggregation must be .* but is 'mean'"):
        weighted(torch.zeros(1, 1), torch.ones(1, 1).bool(), "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"aggregation must be .* but is 'mean'"):
        normaliser("mean", n_tokens=1, n_sequences=1, max_tokens=1)  # type: ignore[arg-type]


def test_cut_off_texts_are_left_out() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    kept = without_truncated(mask, torch.tensor([False, True]))
    assert kept.tolist() == [[True, False], [False, False]]
    with pytest.raises(ValueError, match="truncated must be 2 bools"):
        without_truncated(mask, torch.tensor([0, 1]))


@pytest.mark.parametrize("dual_clip", [None, 1.5])
def test_weighing_the_advantages_weighs_the_clipped_surrogate(dual_clip: float | None) -> None:
    """So that no loss needs to know how its tokens are aggregated."""
    part = batch()
    one_by_one = [
        clipped_surrogate_loss(
            *(tensor[row : row + 1] for tensor in part), 0.2, dual_clip=dual_clip
        ).loss
        for row in range(4)
    ]
    advantages = weighted(part.advantages, part.mask, "sequence")
    together = clipped_surrogate_loss(
        part.log_probs,
        part.old_log_probs,
        advantages,
        part.mask,
        0.2,
        dual_clip=dual_clip,
        n_tokens=4,
    )
    assert_close(together.loss, torch.stack(one_by_one).mean(), rtol=0, atol=1e-12)


# Micro-batches

Loss = Callable[[Batch, float], Tensor]
LOSSES: dict[str, Loss] = {
    "policy gradient": lambda part, n: policy_gradient_loss(
        part.log_probs, part.advantages, part.mask, n_tokens=n
    ),
    "clipped weight": lambda part, n: clipped_weight_loss(*part, 1.1, n_tokens=n).loss,
    "by sequence": lambda part, n: (
        sequence_surrogate_loss(
            part.log_probs,
            part.old_log_probs,
            part.advantages[:, 0],
            part.mask,
            0.1,
            n_sequences=n,
        ).loss
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_micro_batches_add_up(name: str) -> None:
    whole, loss = batch(), LOSSES[name]
    parts = [Batch(*(tensor[rows] for tensor in whole)) for rows in (slice(0, 1), slice(1, 4))]
    losses = torch.stack([loss(part, 7.0) for part in parts])
    assert_close(losses.sum(), loss(whole, 7.0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_what_does_not_count_is_not_read(name: str) -> None:
    part = batch()
    assert part.log_probs.isnan().any()
    loss = LOSSES[name](part, 7.0)
    assert loss.isfinite()
    assert gradient(loss, part.log_probs).isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_of_no_tokens_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="n_tokens must be above 0, but is 0"):
        LOSSES[name](batch(), 0)


# At the policy that sampled


@pytest.mark.parametrize("name", LOSSES)
def test_at_the_sampling_policy_all_gradients_are_the_policy_gradient(name: str) -> None:
    part = batch()
    advantages = torch.where(part.mask, part.advantages[:, :1], 0)
    here = part.old_log_probs.clone().requires_grad_()
    part = Batch(here, part.old_log_probs, advantages, part.mask)
    # By sequence a text has one term, which is the mean of its tokens'.
    weight = part.mask.sum(1, keepdim=True) if name == "by sequence" else 1
    expected = -advantages / weight / 7
    assert_close(gradient(LOSSES[name](part, 7.0), here), expected, rtol=0, atol=1e-12)


# One by one


def test_importance_weights_are_cut_from_above_and_carry_no_gradient() -> None:
    log_probs = torch.tensor([[0.0, -1.0, 3.0]], requires_grad=True)
    mask = torch.tensor([[True, True, True]])
    weights = truncated_importance_weights(log_probs, torch.zeros(1, 3), mask, 2.0)
    assert_close(weights, torch.tensor([[1.0, math.exp(-1), 2.0]]))
    assert not weights.requires_grad
    with pytest.raises(ValueError, match="max_weight must be above 0, but is 0"):
        truncated_importance_weights(log_probs, log_probs, mask, 0)


def test_clipped_weight_leaves_no_token_out() -> None:
    ratios = torch.tensor([[4.0, 4.0, 0.25]])
    log_probs = (ratios.log() - 3).requires_grad_()
    ones = torch.ones(1, 3)
    found = clipped_weight_loss(log_probs, -3 * ones, ones, ones.bool(), 2.0)
    assert_close(gradient(found.loss, log_probs), torch.tensor([[-2.0, -2.0, -0.25]]) / 3)
    assert found.clip_fraction.item() == pytest.approx(2 / 3)


@pytest.mark.parametrize(("per_token", "log_ratio"), [(True, 0.15), (False, 0.3)])
def test_ratio_of_a_text_by_hand(per_token: bool, log_ratio: float) -> None:
    log_probs = torch.tensor([[0.1, 0.2, 9.0]], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    found = sequence_surrogate_loss(
        log_probs, torch.zeros_like(log_probs), torch.tensor([2.0]), mask, 0.5, per_token=per_token
    )
    assert found.loss.item() == pytest.approx(-2 * math.exp(log_ratio))
    share = 0.5 if per_token else 1.0
    each = -2 * math.exp(log_ratio) * share
    expected = torch.tensor([[each, each, 0.0]], dtype=torch.float64)
    assert_close(gradient(found.loss, log_probs), expected)


def test_a_text_is_clipped_whole() -> None:
    log_probs = torch.tensor([[0.6, 0.0]], requires_grad=True)
    mask = torch.ones(1, 2).bool()
    found = sequence_surrogate_loss(
        log_probs, torch.zeros(1, 2), torch.ones(1), mask, 0.2, clip_range_high=0.25
    )
    assert found.loss.item() == pytest.approx(-1.25)
    assert found.clip_fraction.item() == 1
    assert_close(gradient(found.loss, log_probs), torch.zeros(1, 2))


def test_sequence_ratio_of_one_token_is_the_token_ratio() -> None:
    part = batch(size=1)
    ours = sequence_surrogate_loss(
        part.log_probs, part.old_log_probs, part.advantages[:, 0], part.mask, 0.1
    )
    assert_close(ours, clipped_surrogate_loss(*part, 0.1), rtol=0, atol=1e-12)
