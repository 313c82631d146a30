"""The distribution over the next token, against torch.distributions and by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical
from torch.testing import assert_close

from agents.policy.categorical import entropy, log_prob, masked_logits, most_probable, sample

LOGITS = torch.tensor([[0.0, math.log(3.0), math.log(4.0)]], dtype=torch.float64)
"""Probabilities 1/8, 3/8, 4/8."""


def test_log_prob_and_entropy_by_hand() -> None:
    logits = LOGITS.expand(3, 3)
    expected = torch.tensor([1 / 8, 3 / 8, 4 / 8], dtype=torch.float64).log()
    assert_close(log_prob(logits, torch.arange(3)), expected, rtol=0, atol=1e-15)
    by_hand = -(expected.exp() * expected).sum()
    assert entropy(LOGITS).item() == pytest.approx(by_hand.item(), abs=1e-15)


def test_masked_log_prob_and_entropy_by_hand() -> None:
    mask = torch.tensor([[True, True, False]])
    logits = masked_logits(LOGITS, mask)
    assert log_prob(logits, torch.tensor([1])).item() == pytest.approx(math.log(3 / 4), abs=1e-15)
    by_hand = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert entropy(logits).item() == pytest.approx(by_hand, abs=1e-15)


def test_no_mask_changes_nothing() -> None:
    assert masked_logits(LOGITS, None) is LOGITS
    assert torch.equal(masked_logits(LOGITS, torch.ones(1, 3, dtype=torch.bool)), LOGITS)


def test_a_single_allowed_action_is_certain() -> None:
    logits = masked_logits(LOGITS, torch.tensor([[False, True, False]]))
    assert log_prob(logits, torch.tensor([1])).item() == 0
    assert entropy(logits).item() == 0
    action, log_prob_of_it = sample(logits, torch.Generator().manual_seed(0))
    assert (action.item(), log_prob_of_it.item()) == (1, 0)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 9))
def test_agrees_with_torch_distributions(seed: int, n: int, v: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(n, v, generator=generator, dtype=torch.float64)
    mask = torch.rand(n, v, generator=generator) < 0.5
    actions = torch.randint(v, (n,), generator=generator)
    mask[torch.arange(n), actions] = True
    ours = masked_logits(logits, mask)
    theirs = Categorical(logits=logits.masked_fill(~mask, -math.inf))
    assert_close(log_prob(ours, actions), theirs.log_prob(actions), rtol=0, atol=1e-12)
    probabilities = theirs.probs
    expected = -torch.where(mask, probabilities * probabilities.log(), 0).sum(-1)
    assert_close(entropy(ours), expected, rtol=0, atol=1e-12)


def test_excluded_actions_get_neither_samples_nor_gradient() -> None:
    logits = torch.zeros(1, 4, requires_grad=True)
    masked = masked_logits(logits, torch.tensor([[True, False, True, False]]))
    draws, _ = sample(masked.detach().expand(2_000, 4), torch.Generator().manual_seed(0))
    assert set(draws.tolist()) == {0, 2}
    (log_prob(masked, torch.tensor([0])).sum() + entropy(masked).sum()).backward()
    assert logits.grad is not None
    assert_close(logits.grad, torch.tensor([[0.5, 0.0, -0.5, 0.0]]), rtol=0, atol=1e-7)


def test_the_most_probable_action_is_that_of_the_largest_logit() -> None:
    assert most_probable(LOGITS).tolist() == [2]
    assert most_probable(masked_logits(LOGITS, LOGITS < 1.2)).tolist() == [1]


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("choose", [most_probable, lambda z: sample(z, torch.Generator())])
def test_logits_that_are_not_finite_are_refused(choose: Any, broken: float) -> None:
    logits = LOGITS.repeat(4, 1)
    logits[2, 1] = broken
    with pytest.raises(ValueError, match=rf"logits must be finite, got {broken} in 1 of 4 .*row 2"):
        choose(logits)


def test_a_mask_that_allows_nothing_is_refused() -> None:
    mask = torch.tensor([[True, False], [False, False], [False, False]])
    with pytest.raises(ValueError, match=r"action_mask must allow at least one.*rows \[1, 2\]"):
        masked_logits(torch.zeros(3, 2), mask)


def test_samples_follow_the_probabilities() -> None:
    n = 40_000
    draws, log_probs = sample(LOGITS.expand(n, 3), torch.Generator().manual_seed(0))
    assert_close(log_probs, log_prob(LOGITS.expand(n, 3), draws), rtol=0, atol=1e-12)
    observed = torch.bincount(draws, minlength=3).double()
    expected = n * torch.tensor([1 / 8, 3 / 8, 4 / 8], dtype=torch.float64)
    chi_square = ((observed - expected) ** 2 / expected).sum().item()
    assert chi_square < 13.8  # 0.999 quantile, 2 degrees of freedom


def test_sampling_is_a_function_of_the_generator() -> None:
    logits = torch.zeros(50, 9)
    before = torch.get_rng_state()
    first, _ = sample(logits, torch.Generator().manual_seed(3))
    assert torch.equal(first, sample(logits, torch.Generator().manual_seed(3))[0])
    assert not torch.equal(first, sample(logits, torch.Generator().manual_seed(4))[0])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("size", [3, 50_000])
def test_the_largest_and_the_smallest_uniform_number_choose_possible_actions(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = torch.zeros(1, size, dtype=torch.bool)
    allowed[0, 1:-1] = True
    logits = masked_logits(torch.randn(1, size), allowed)
    generator = torch.Generator()
    for uniform, expected in ((0.0, 1), (1 - 2.0**-53, size - 2)):
        drawn = torch.full((1, 1), uniform, dtype=torch.float64)
        monkeypatch.setattr(torch, "rand", lambda *args, drawn=drawn, **kwargs: drawn)
        assert sample(logits, generator)[0].item() == expected
