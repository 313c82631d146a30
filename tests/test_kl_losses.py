"""KL in the loss: its expected gradient, by enumerating every action and every text."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from agents.objectives.kl import KLEstimator, exact_kl, kl_loss, kl_penalised_rewards, sampled_kl

ACTIONS = 4


def logits(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def kl(first: Tensor, second: Tensor) -> Tensor:
    return (first.exp() * (first - second)).sum()


def expected_gradient(
    z: Tensor, reference: Tensor, behaviour: Tensor, kind: KLEstimator, by_ratio: bool
) -> Tensor:
    """The mean gradient of the term over all actions that the behaviour policy might draw."""
    column = z.log_softmax(0)[:, None]
    terms = sampled_kl(
        column,
        reference[:, None],
        torch.ones(ACTIONS, 1).bool(),
        kind,
        old_log_probs=behaviour[:, None] if by_ratio else None,
    )
    return torch.autograd.grad((behaviour.exp() * terms[:, 0]).sum(), z)[0]


@pytest.fixture
def z() -> Tensor:
    return logits(0, ACTIONS).requires_grad_()


@pytest.fixture
def reference() -> Tensor:
    return logits(1, ACTIONS).log_softmax(0)


def test_k1_has_no_gradient_in_expectation(z: Tensor, reference: Tensor) -> None:
    found = expected_gradient(z, reference, z.detach().log_softmax(0), "k1", by_ratio=False)
    assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-14)


def test_k2_has_the_gradient_of_kl_to_the_reference(z: Tensor, reference: Tensor) -> None:
    found = expected_gradient(z, reference, z.detach().log_softmax(0), "k2", by_ratio=False)
    wanted = torch.autograd.grad(kl(z.log_softmax(0), reference), z)[0]
    assert wanted.abs().max() > 0.1
    assert_close(found, wanted, rtol=0, atol=1e-14)


def test_k3_has_the_gradient_of_kl_from_the_reference(z: Tensor, reference: Tensor) -> None:
    found = expected_gradient(z, reference, z.detach().log_softmax(0), "k3", by_ratio=False)
    forward = torch.autograd.grad(kl(reference, z.log_softmax(0)), z)[0]
    assert_close(found, forward, rtol=0, atol=1e-14)
    other_way = torch.autograd.grad(kl(z.log_softmax(0), reference), z)[0]
    cosine = torch.cosine_similarity(found, other_way, dim=0)
    assert cosine < 0.99  # the bias is not one of size only


@pytest.mark.parametrize("kind", ["k1", "k3"])
@pytest.mark.parametrize("on_policy", [True, False])
def test_by_ratio_k1_and_k3_have_the_gradient_of_kl_wherever_the_data_are_from(
    kind: KLEstimator, on_policy: bool, z: Tensor, reference: Tensor
) -> None:
    behaviour = z.detach().log_softmax(0) if on_policy else logits(2, ACTIONS).log_softmax(0)
    found = expected_gradient(z, reference, behaviour, kind, by_ratio=True)
    wanted = torch.autograd.grad(kl(z.log_softmax(0), reference), z)[0]
    assert_close(found, wanted, rtol=0, atol=1e-14)


def test_exact_kl_has_its_gradient_without_sampling(z: Tensor, reference: Tensor) -> None:
    found = exact_kl(z.log_softmax(0), reference)
    assert_close(found, kl(z.log_softmax(0), reference))
    mean = (z.log_softmax(0).exp() * (z.log_softmax(0) - reference)).sum()
    assert_close(
        torch.autograd.grad(found, z)[0], torch.autograd.grad(mean, z)[0], rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("excluded", [-torch.inf, torch.finfo(torch.float64).min])
def test_excluded_actions_add_nothing_to_exact_kl(excluded: float) -> None:
    z = logits(0, 3).requires_grad_()
    mask = torch.tensor([True, True, False])
    ours = z.masked_fill(~mask, excluded).log_softmax(0)
    theirs = logits(1, 3).masked_fill(~mask, excluded).log_softmax(0)
    found = exact_kl(ours, theirs)
    assert_close(found, kl(ours[:2], theirs[:2]))
    assert torch.autograd.grad(found, z)[0].isfinite().all()


# Whole texts of two tokens, the second distribution depending on the first token


def texts_and_log_probs(tables: list[Tensor]) -> tuple[Tensor, Tensor]:
    """All texts (n, 2), and the log-probs of their tokens."""
    texts = torch.tensor(list(itertools.product(range(3), repeat=2)))
    first, second = tables[0].log_softmax(0), tables[1].log_softmax(1)
    return texts, torch.stack([first[texts[:, 0]], second[texts[:, 0], texts[:, 1]]], dim=1)


def gradients(scalar: Tensor, tables: list[Tensor]) -> Tensor:
    return torch.cat(
        [part.flatten() for part in torch.autograd.grad(scalar, tables, retain_graph=True)]
    )


@pytest.fixture
def tables() -> list[Tensor]:
    return [logits(3, 3).requires_grad_(), logits(4, 3, 3).requires_grad_()]


def test_k1_in_the_reward_has_the_gradient_of_kl_between_texts(tables: list[Tensor]) -> None:
    _, log_probs = texts_and_log_probs(tables)
    _, ref_log_probs = texts_and_log_probs([logits(5, 3), logits(6, 3, 3)])
    probability = log_probs.sum(1).exp()
    wanted = gradients((probability * (log_probs - ref_log_probs).sum(1)).sum(), tables)
    mask = torch.ones_like(log_probs).bool()
    nothing = torch.zeros_like(log_probs)
    paid = kl_penalised_rewards(nothing, log_probs, ref_log_probs, mask, 1.0).sum(1).detach()
    surrogate = (probability.detach() * paid * log_probs.sum(1)).sum()
    assert_close(gradients(-surrogate, tables), wanted, rtol=0, atol=1e-14)


def test_terms_of_the_loss_lack_what_a_token_does_to_the_kl_of_later_ones(
    tables: list[Tensor],
) -> None:
    """The second table's gradient is that of the KL between texts, the first one's is not."""
    _, log_probs = texts_and_log_probs(tables)
    _, ref_log_probs = texts_and_log_probs([logits(5, 3), logits(6, 3, 3)])
    probability = log_probs.sum(1).exp()
    wanted = gradients((probability * (log_probs - ref_log_probs).sum(1)).sum(), tables)
    terms = sampled_kl(log_probs, ref_log_probs, torch.ones_like(log_probs).bool(), "k2")
    found = gradients((probability.detach()[:, None] * terms).sum(), tables)
    assert_close(found[3:], wanted[3:], rtol=0, atol=1e-14)
    assert (found[:3] - wanted[:3]).abs().max() > 0.01


def test_k2_of_the_whole_text_has_the_gradient_of_kl_between_texts(tables: list[Tensor]) -> None:
    _, log_probs = texts_and_log_probs(tables)
    _, ref_log_probs = texts_and_log_probs([logits(5, 3), logits(6, 3, 3)])
    probability = log_probs.sum(1).exp()
    log_ratio = (log_probs - ref_log_probs).sum(1)
    wanted = gradients((probability * log_ratio).sum(), tables)
    found = gradients((probability.detach() * 0.5 * log_ratio.square()).sum(), tables)
    assert_close(found, wanted, rtol=0, atol=1e-14)


# The sum


def test_what_does_not_count_is_not_read() -> None:
    log_probs = torch.tensor([[-1.0, torch.nan]], requires_grad=True)
    ref_log_probs = torch.tensor([[-3.0, torch.nan]])
    mask = torch.tensor([[True, False]])
    loss = kl_loss(sampled_kl(log_probs, ref_log_probs, mask, "k2"), mask, n_tokens=4)
    assert loss.item() == pytest.approx(0.5)
    assert torch.autograd.grad(loss, log_probs)[0].tolist() == [[0.5, 0.0]]


def test_a_step_of_no_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="n_tokens must be above 0, but is 0"):
        kl_loss(torch.zeros(1, 1), torch.ones(1, 1).bool(), n_tokens=0)
