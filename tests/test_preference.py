"""Preference losses: by hand, their optimum, and micro-batches."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.testing import assert_close

from agents.objectives.preference import PreferenceLoss, dpo_loss, ipo_loss

Loss = Callable[..., PreferenceLoss]
BOTH = pytest.mark.parametrize("loss", [dpo_loss, ipo_loss])


def test_dpo_by_hand() -> None:
    chosen = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    found = dpo_loss(chosen, torch.tensor([-1.0]).double(), kl_coef=0.5)
    sigmoid = 1 / (1 + math.exp(-1.5))
    assert found.loss.item() == pytest.approx(-math.log(sigmoid))
    assert torch.autograd.grad(found.loss, chosen)[0].item() == pytest.approx(-0.5 * (1 - sigmoid))
    assert found.chosen_reward.item() == 1
    assert found.rejected_reward.item() == -0.5
    assert found.accuracy.item() == 1


def test_smoothed_dpo_is_least_where_the_odds_are_those_of_the_labels() -> None:
    """With a share ε of wrong labels, σ(h) = 1 - ε."""
    h = torch.tensor([math.log(0.8 / 0.2)], dtype=torch.float64, requires_grad=True)
    found = dpo_loss(h, torch.zeros(1).double(), kl_coef=1.0, label_smoothing=0.2)
    assert torch.autograd.grad(found.loss, h)[0].item() == pytest.approx(0, abs=1e-12)
    assert found.loss.item() == pytest.approx(-0.8 * math.log(0.8) - 0.2 * math.log(0.2))


def test_ipo_is_least_at_a_finite_margin() -> None:
    margins = torch.tensor([1.0, 5.0])
    losses = [ipo_loss(m[None], torch.zeros(1), kl_coef=0.1).loss.item() for m in margins]
    assert losses == pytest.approx([16.0, 0.0])


@BOTH
def test_micro_batches_add_up(loss: Loss) -> None:
    chosen, rejected, weights = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    parts = [
        loss(a, b, 0.3, weights=w, n_pairs=5).loss
        for a, b, w in zip(chosen.split(2), rejected.split(2), weights.split(2), strict=True)
    ]
    assert_close(torch.stack(parts).sum(), loss(chosen, rejected, 0.3, weights=weights).loss)


@BOTH
def test_weights_are_those_of_repeated_pairs(loss: Loss) -> None:
    chosen, rejected = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0])
    rows = torch.tensor([0, 1, 1, 1])
    assert_close(
        loss(chosen, rejected, 0.3, weights=torch.tensor([1.0, 3.0]), n_pairs=4).loss,
        loss(chosen[rows], rejected[rows], 0.3).loss,
    )


@BOTH
def test_bad_arguments_are_named(loss: Loss) -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match="kl_coef must be above 0, but is 0"):
        loss(one, one, 0)
    with pytest.raises(ValueError, match="n_pairs must be above 0, but is 0"):
        loss(one, one, 0.1, n_pairs=0)
    with pytest.raises(ValueError, match=r"weights must have the shape .* \(1,\), but has \(2,\)"):
        loss(one, one, 0.1, weights=torch.ones(2))


def test_more_wrong_labels_than_right_ones_are_refused() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing must be .* below 0.5, but is 0.5"):
        dpo_loss(torch.ones(1), torch.ones(1), 0.1, label_smoothing=0.5)
