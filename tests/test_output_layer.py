"""The output layer in chunks, against the plain computation with all logits at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from agents.policy import categorical
from agents.policy.action_masks import ActionMasks
from agents.policy.model.output_layer import CHUNK_ELEMENTS, log_probs_and_entropies

N, H, V = 7, 5, 11


def inputs(
    dtype: torch.dtype = torch.float64, scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor, Tensor, ActionMasks]:
    """Returns hidden states, weight, bias, tokens and masks that allow the tokens."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)
        for shape in ((N, H), (V, H), (V,))
    )
    tokens = torch.randint(V, (N,), generator=generator)
    table = torch.rand(3, V, generator=generator) < 0.5
    numbers = torch.randint(3, (N,), generator=generator)
    table[numbers, tokens] = True
    parts = (part.requires_grad_() for part in (hidden, weight, bias))
    return *parts, tokens, ActionMasks(table, numbers)


def plainly(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    tokens: Tensor,
    masks: ActionMasks | None,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    logits = torch.nn.functional.linear(hidden, weight, bias) / temperature
    logits = categorical.masked_logits(
        logits, None if masks is None else masks.table[masks.numbers]
    )
    return categorical.log_prob(logits, tokens), categorical.entropy(logits)


every_case = pytest.mark.parametrize(
    ("with_bias", "with_masks", "temperature"),
    list(itertools.product([False, True], [False, True], [1.0, 0.7])),
)
every_chunk = pytest.mark.parametrize("chunk_elements", [1, V, 2 * V, 4 * V, N * V, CHUNK_ELEMENTS])


@every_case
@every_chunk
def test_numbers_and_gradients_are_those_of_all_logits_at_once(
    with_bias: bool, with_masks: bool, temperature: float, chunk_elements: int
) -> None:
    hidden, weight, bias, tokens, masks = inputs()
    learning = (hidden, weight, bias) if with_bias else (hidden, weight)
    chosen_bias, chosen_masks = bias if with_bias else None, masks if with_masks else None
    ours = log_probs_and_entropies(
        hidden,
        weight,
        chosen_bias,
        tokens,
        temperature=temperature,
        masks=chosen_masks,
        chunk_elements=chunk_elements,
    )
    plain = plainly(hidden, weight, chosen_bias, tokens, chosen_masks, temperature)
    assert_close(ours, plain, rtol=0, atol=1e-12)
    weights = torch.randn(2, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_close(
        torch.autograd.grad(ours, learning, list(weights)),
        torch.autograd.grad(plain, learning, list(weights)),
        rtol=0,
        atol=1e-12,
    )


@every_case
def test_gradients_are_those_of_finite_differences(
    with_bias: bool, with_masks: bool, temperature: float
) -> None:
    hidden, weight, bias, tokens, masks = inputs()

    def both(*parts: Tensor) -> tuple[Tensor, Tensor]:
        return log_probs_and_entropies(
            parts[0],
            parts[1],
            parts[2] if with_bias else None,
            tokens,
            temperature=temperature,
            masks=masks if with_masks else None,
            chunk_elements=3 * V,
        )

    assert torch.autograd.gradcheck(both, (hidden, weight, bias) if with_bias else (hidden, weight))


def test_float32_agrees_with_the_plain_computation_to_a_millionth() -> None:
    hidden, weight, bias, tokens, masks = inputs(torch.float32)
    ours = log_probs_and_entropies(hidden, weight, bias, tokens, masks=masks, chunk_elements=2 * V)
    assert_close(ours, plainly(hidden, weight, bias, tokens, masks, 1.0), rtol=0, atol=1e-6)
    assert ours[0].dtype == ours[1].dtype == torch.float32


@pytest.mark.parametrize("chunk_elements", [2 * V, CHUNK_ELEMENTS])
def test_large_gradients_of_excluded_tokens_stay_zero(chunk_elements: int) -> None:
    hidden, weight, bias, tokens, masks = inputs(torch.float32)
    both = log_probs_and_entropies(
        hidden, weight, bias, tokens, masks=masks, chunk_elements=chunk_elements
    )
    gradients = torch.autograd.grad(both, (hidden, weight, bias), [torch.full((N,), 1e6)] * 2)
    assert all(gradient.isfinite().all() for gradient in gradients)
    never_allowed = ~masks.table[masks.numbers].any(dim=0)
    assert never_allowed.any()
    assert not gradients[1][never_allowed].any()


def test_one_allowed_token_is_certain() -> None:
    hidden, weight, bias, tokens, _ = inputs()
    only = torch.nn.functional.one_hot(tokens, V).bool()
    masks = ActionMasks(only, torch.arange(N))
    log_probs, entropies = log_probs_and_entropies(hidden, weight, bias, tokens, masks=masks)
    assert not log_probs.any()
    assert not entropies.any()


@pytest.mark.parametrize("chunk_elements", [2 * V, CHUNK_ELEMENTS])
def test_a_second_backward_pass_gives_the_same_gradients(chunk_elements: int) -> None:
    hidden, weight, bias, tokens, masks = inputs()
    both = log_probs_and_entropies(
        hidden, weight, bias, tokens, masks=masks, chunk_elements=chunk_elements
    )
    total = both[0].sum() + both[1].sum()
    once, twice = (
        torch.autograd.grad(total, (hidden, weight, bias), retain_graph=True) for _ in range(2)
    )
    assert_close(once, twice, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("chunk_elements", "softmaxes"), [(2 * V, 8), (N * V, 1)])
def test_chunks_are_computed_again_where_there_are_several(
    chunk_elements: int, softmaxes: int
) -> None:
    hidden, weight, bias, tokens, _ = inputs()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        both = log_probs_and_entropies(hidden, weight, bias, tokens, chunk_elements=chunk_elements)
        (both[0].sum() + both[1].sum()).backward()
    names = [event.name for event in profiler.events()]
    assert names.count("aten::_log_softmax") == softmaxes


@pytest.mark.parametrize("learning", ["hidden", "weight", "bias"])
def test_only_what_learns_gets_a_gradient(learning: str) -> None:
    parts = dict(zip(("hidden", "weight", "bias"), inputs()[:3], strict=True))
    tokens = inputs()[3]
    expected = torch.autograd.grad(
        log_probs_and_entropies(**parts, tokens=tokens)[0].sum(), parts[learning]
    )
    for name, part in parts.items():
        part.requires_grad_(name == learning)
    log_probs_and_entropies(**parts, tokens=tokens)[0].sum().backward()
    assert {name for name, part in parts.items() if part.grad is not None} == {learning}
    assert_close(parts[learning].grad, *expected, rtol=0, atol=1e-12)


def test_no_choice_at_all() -> None:
    hidden, weight, bias, tokens, _ = inputs()
    log_probs, entropies = log_probs_and_entropies(hidden[:0], weight, bias, tokens[:0])
    assert log_probs.shape == entropies.shape == (0,)
    gradients = torch.autograd.grad(log_probs.sum(), (weight, bias))
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("chunk_elements", [2 * V, CHUNK_ELEMENTS])
def test_in_half_precision_only_the_products_are_rounded(chunk_elements: int) -> None:
    exact = inputs()
    hidden, weight, bias, tokens, masks = inputs(torch.bfloat16)
    both = log_probs_and_entropies(
        hidden, weight, bias, tokens, masks=masks, chunk_elements=chunk_elements
    )
    assert all(part.dtype == torch.float32 for part in both)
    expected = plainly(*exact[:4], masks, 1.0)
    assert_close(both, expected, rtol=0.05, atol=0.05, check_dtype=False)
    gradients = torch.autograd.grad(both[0].sum() + both[1].sum(), (hidden, weight, bias))
    assert all(gradient.dtype == torch.bfloat16 for gradient in gradients)
    wanted = torch.autograd.grad(expected[0].sum() + expected[1].sum(), exact[:3])
    assert_close(gradients, wanted, rtol=0.05, atol=0.1, check_dtype=False)


def test_a_surrounding_autocast_changes_nothing() -> None:
    hidden, weight, bias, tokens, masks = inputs(torch.float32)
    plain = log_probs_and_entropies(hidden, weight, bias, tokens, masks=masks)
    with torch.autocast("cpu", torch.bfloat16):
        inside = log_probs_and_entropies(hidden, weight, bias, tokens, masks=masks)
    assert_close(inside, plain, rtol=0, atol=0)


def peak_elements(run: Callable[[], None]) -> float:
    """Returns the most float32 numbers that were alive at once, of those allocated during `run`."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = profiler.profiler.kineto_results.events()
    changes = [event.nbytes() for event in events if event.name() == "[memory]"]
    return max(itertools.accumulate(changes)) / 4


@pytest.mark.parametrize("with_masks", [False, True])
def test_two_chunks_are_alive_at_most(with_masks: bool) -> None:
    n, width, n_tokens, chunk_elements = 40, 4, 50_000, 10 * 50_000
    hidden = torch.randn(n, width, requires_grad=True)
    weight = torch.randn(n_tokens, width, requires_grad=True)
    tokens = torch.arange(n)
    masks = ActionMasks(torch.ones(1, n_tokens, dtype=torch.bool), torch.zeros_like(tokens))

    def run() -> None:
        both = log_probs_and_entropies(
            hidden,
            weight,
            None,
            tokens,
            masks=masks if with_masks else None,
            chunk_elements=chunk_elements,
        )
        (both[0].sum() + both[1].sum()).backward()

    gradients = weight.numel() + hidden.numel()
    assert (
        peak_elements(run)
        < 1.02 * (2 * chunk_elements + gradients) + with_masks * 0.25 * chunk_elements
    )
