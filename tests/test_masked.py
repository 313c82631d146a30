"""Masked statistics: numbers worked by hand, and what must hold whatever the mask."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from agents.objectives.masked import masked_mean, masked_sum, masked_var, whiten

NAN = float("nan")

Reduction = Callable[[Tensor, Tensor], Tensor]
REDUCTIONS: list[Reduction] = [masked_sum, masked_mean, masked_var]

# Row 0 counts 1, 3, 5; row 1 counts 10, 20.
X = torch.tensor([[1.0, 3.0, 7.0, 5.0], [10.0, 7.0, 7.0, 20.0]], dtype=torch.float64)
MASK = torch.tensor([[True, True, False, True], [True, False, False, True]])


@st.composite
def masked_tensors(draw: st.DrawFn, min_counted: int = 1) -> tuple[Tensor, Tensor]:
    """Draw a float64 tensor and a mask that counts at least `min_counted` of it."""
    size = draw(st.integers(min_counted, 8))
    numbers = st.floats(-100, 100, allow_nan=False)
    x = draw(st.lists(numbers, min_size=size, max_size=size))
    mask = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    assume(sum(mask) >= min_counted)
    return torch.tensor(x, dtype=torch.float64), torch.tensor(mask)


def test_sum_by_hand() -> None:
    assert masked_sum(X, MASK).item() == 39.0
    assert masked_sum(X, MASK, dim=1).tolist() == [9.0, 30.0]
    assert masked_sum(X, MASK, dim=0).tolist() == [11.0, 3.0, 0.0, 25.0]


def test_mean_by_hand() -> None:
    assert masked_mean(X, MASK).item() == pytest.approx(7.8, abs=1e-14)
    assert masked_mean(X, MASK, dim=1).tolist() == [3.0, 15.0]


def test_variance_by_hand() -> None:
    # Row 0: deviations -2, 0, 2. Row 1: -5, 5.
    assert_close(masked_var(X, MASK, dim=1), torch.tensor([8 / 3, 25.0], dtype=torch.float64))
    assert masked_var(X, MASK, dim=1, unbiased=True).tolist() == [4.0, 50.0]
    # All: deviations from 7.8 are -6.8, -4.8, -2.8, 2.2, 12.2; squares sum to 230.8.
    assert masked_var(X, MASK).item() == pytest.approx(46.16, abs=1e-12)
    assert masked_var(X, MASK, unbiased=True).item() == pytest.approx(57.7, abs=1e-12)


def test_variance_along_the_first_dimension_uses_the_mean_of_each_column() -> None:
    mask = torch.ones(2, 2, dtype=torch.bool)
    x = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    assert masked_var(x, mask, dim=0).tolist() == [1.0, 100.0]


@given(masked_tensors())
def test_statistics_are_those_of_the_counted_elements_alone(sample: tuple[Tensor, Tensor]) -> None:
    x, mask = sample
    assert_close(masked_sum(x, mask), x[mask].sum())
    assert_close(masked_mean(x, mask), x[mask].mean())
    assert_close(masked_var(x, mask), x[mask].var(correction=0))


@given(masked_tensors(min_counted=2))
def test_unbiased_variance_is_torchs(sample: tuple[Tensor, Tensor]) -> None:
    x, mask = sample
    assert_close(masked_var(x, mask, unbiased=True), x[mask].var())


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("hidden", [NAN, float("inf"), -float("inf")])
def test_masked_values_reach_neither_result_nor_gradient(
    reduction: Reduction, hidden: float
) -> None:
    clean = X.clone().requires_grad_()
    dirty = torch.where(MASK, X, hidden).requires_grad_()
    assert reduction(dirty, MASK).item() == reduction(clean, MASK).item()
    (clean_gradient,) = torch.autograd.grad(reduction(clean, MASK), clean)
    (dirty_gradient,) = torch.autograd.grad(reduction(dirty, MASK), dirty)
    assert_close(dirty_gradient, clean_gradient, rtol=0, atol=0)
    assert (dirty_gradient[~MASK] == 0).all()


def test_sum_of_nothing_is_zero() -> None:
    assert masked_sum(torch.full((3,), NAN), torch.zeros(3, dtype=torch.bool)).item() == 0.0


@pytest.mark.parametrize("statistic", [masked_mean, masked_var, whiten])
def test_empty_mask_is_refused_by_name(statistic: Reduction) -> None:
    with pytest.raises(ValueError, match="mask must count at least 1"):
        statistic(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool))


def test_one_empty_slice_is_refused() -> None:
    mask = torch.tensor([[True, True], [False, False]])
    with pytest.raises(ValueError, match=r"each slice along dimension 1.*\[2, 0\]"):
        masked_mean(torch.ones(2, 2), mask, dim=1)


def test_unbiased_variance_of_one_element_is_refused() -> None:
    with pytest.raises(ValueError, match="mask must count at least 2"):
        masked_var(torch.ones(3), torch.tensor([False, True, False]), unbiased=True)


def test_mask_of_another_shape_is_refused_although_it_would_broadcast() -> None:
    with pytest.raises(ValueError, match=r"mask must have the shape of x, \(2, 3\).*\(3,\)"):
        masked_sum(torch.ones(2, 3), torch.ones(3, dtype=torch.bool))


def test_mean_of_booleans_is_a_fraction() -> None:
    mask = torch.tensor([True, True, True, True, False])
    assert masked_mean(torch.tensor([True, False, False, False, True]), mask).item() == 0.25


def test_halves_are_accumulated_without_rounding_the_count() -> None:
    ones = torch.ones(1001, dtype=torch.bfloat16)
    assert masked_sum(ones, torch.ones(1001, dtype=torch.bool)).item() == 1001.0


def test_whiten_by_hand() -> None:
    # Counted: 1, 3, 5, 7; mean 4, variance (9 + 1 + 1 + 9) / 4 = 5.
    x = torch.tensor([1.0, 3.0, 100.0, 5.0, 7.0], dtype=torch.float64)
    mask = torch.tensor([True, True, False, True, True])
    unit = 5**-0.5
    centred = torch.tensor([-3 * unit, -unit, 0.0, unit, 3 * unit], dtype=torch.float64)
    assert_close(whiten(x, mask), centred, rtol=1e-8, atol=0)
    assert_close(
        whiten(x, mask, shift_mean=False), torch.where(mask, centred + 4, 0), rtol=1e-8, atol=0
    )


def test_the_variance_floor_stands_under_the_root() -> None:
    # Variance 1e-8 + floor 1e-8 = 2e-8, so 1e-4 becomes 1 / sqrt(2).
    x = torch.tensor([1e-4, -1e-4], dtype=torch.float64)
    whitened = whiten(x, torch.tensor([True, True]))
    assert whitened.tolist() == pytest.approx([0.5**0.5, -(0.5**0.5)], abs=1e-12)


@given(masked_tensors(min_counted=2))
def test_whitened_counted_elements_have_mean_zero_and_variance_one(
    sample: tuple[Tensor, Tensor],
) -> None:
    x, mask = sample
    assume(masked_var(x, mask).item() > 0.1)
    whitened = whiten(x, mask)
    assert whitened[mask].mean().item() == pytest.approx(0, abs=1e-9)
    assert whitened[mask].var(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert (whitened[~mask] == 0).all()


@given(masked_tensors(min_counted=2))
def test_whitening_without_shift_changes_the_scale_only(sample: tuple[Tensor, Tensor]) -> None:
    x, mask = sample
    assume(masked_var(x, mask).item() > 0.1)
    scaled = whiten(x, mask, shift_mean=False)
    assert_close(masked_mean(scaled, mask), masked_mean(x, mask), rtol=1e-9, atol=1e-9)
    assert scaled[mask].var(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert (scaled[~mask] == 0).all()


@pytest.mark.parametrize("shift_mean", [True, False])
def test_whitening_ignores_what_is_masked(shift_mean: bool) -> None:
    dirty = torch.where(MASK, X, NAN)
    assert_close(
        whiten(dirty, MASK, shift_mean=shift_mean),
        whiten(X, MASK, shift_mean=shift_mean),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_whitening_keeps_the_dtype_and_turns_equal_elements_to_zero(dtype: torch.dtype) -> None:
    whitened = whiten(torch.full((4,), 3.0, dtype=dtype), torch.tensor([True, True, True, False]))
    assert whitened.dtype == dtype
    assert whitened.tolist() == [0.0, 0.0, 0.0, 0.0]
