"""The exact gradient against finite differences, a plain sum over completions, and its zeros."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import GPT2Config

from agents.evaluation.exact_gradient import exact_gradient
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.next_token import NextTokenLogProbs
from agents.policy.token_batch import TokenBatch
from text_gym import CharTokenizer, TextGenEnv
from text_gym.constraints import MinimumLength
from text_gym.exact import Solution, solve
from text_gym.wrappers import Constrain, ReferenceLogProb

A, B, EOS = range(3)
BETA = 0.3
PROMPT = [B, A]


class WithHole(CharTokenizer):
    """The letter c stands for no text."""

    def __init__(self) -> None:
        super().__init__("abc")
        self.excluded_token_ids = frozenset({2})


def paid(prompt: str, completion: str) -> float:
    return completion.count("ab") - 0.4 * len(completion) + (completion == "b")


def env_of(**arguments: Any) -> TextGenEnv:
    defaults: dict[str, Any] = {
        "prompts": ["ba"],
        "tokenizer": CharTokenizer("ab"),
        "reward_function": paid,
        "max_new_tokens": 3,
    }
    return TextGenEnv(**{**defaults, **arguments})


def tiny_policy(seed: int, vocab_size: int = 3, temperature: float = 1.0) -> CausalLMPolicy:
    config = GPT2Config(
        vocab_size=vocab_size,
        n_embd=8,
        n_layer=1,
        n_head=2,
        n_positions=5,
        initializer_range=0.5,
        bos_token_id=vocab_size - 1,
        eos_token_id=vocab_size - 1,
    )
    return CausalLMPolicy.from_config(config, seed=seed, temperature=temperature).double()


def completions_of(solution: Solution) -> list[tuple[list[int], float]]:
    return [
        (ids, float(solution.rewards[batch.depth][row, ids[-1]]))
        for batch in solution.tree.completions(100)
        for row, ids in zip(batch.rows.tolist(), batch.token_ids.tolist(), strict=True)
    ]


def log_prob(policy: CausalLMPolicy, completion: list[int]) -> Tensor:
    """Of one completion, by one forward over it."""
    text = torch.tensor([PROMPT + completion])
    chosen = torch.arange(text.shape[1])[None] >= len(PROMPT)
    return policy(TokenBatch(text, torch.ones_like(chosen), chosen)).log_probs.sum()


def plain_objective(
    policy: CausalLMPolicy, reference: CausalLMPolicy, solution: Solution, beta: float
) -> Tensor:
    """Sum p·(R − β·(log p − log p₀)) over completions."""
    terms = []
    for completion, reward in completions_of(solution):
        ours, theirs = log_prob(policy, completion), log_prob(reference, completion).detach()
        terms.append(ours.exp() * (reward - beta * (ours - theirs)))
    return torch.stack(terms).sum()


# The policy as a function


def test_log_probs_are_those_of_the_model_at_the_end_of_each_text_whatever_the_padding() -> None:
    policy = tiny_policy(0, temperature=0.7)
    input_ids = np.array([[B, A, A, B, A], [B, 0, 0, 0, 0], [A, B, A, 1, 1], [A, A, 2, 2, 2]])
    lengths = np.array([5, 1, 3, 2])
    for chunk in (1, 3, 100):
        found = NextTokenLogProbs(policy, chunk)(input_ids, lengths)
        assert found.dtype == np.float64
        for row, ids, length in zip(found, input_ids, lengths, strict=True):
            logits = policy.model(torch.tensor(ids[None, :length])).logits[0, -1] / 0.7
            np.testing.assert_allclose(row, logits.log_softmax(-1).detach(), atol=1e-12)


def test_a_float32_policy_is_normalised_in_float64() -> None:
    found = NextTokenLogProbs(tiny_policy(0).float())(np.array([[B, A]]), np.array([2]))
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-14)


def test_the_function_serves_the_reference_wrapper() -> None:
    policy = tiny_policy(0)
    env = ReferenceLogProb(env_of(reward_function=lambda p, c: 0.0), NextTokenLogProbs(policy))
    env.reset()
    total = sum(env.step(token)[1] for token in (A, B, EOS))
    assert total == pytest.approx(log_prob(policy, [A, B, EOS]).item())


def test_a_chunk_holds_at_least_one_text() -> None:
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        NextTokenLogProbs(tiny_policy(0), 0)


# The objective and its gradient


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("beta", [0.0, BETA])
@pytest.mark.parametrize(
    "arguments", [{}, {"stop_token_ids": [B]}, {"limit": "truncate"}], ids=["plain", "stop", "cut"]
)
def test_it_is_the_gradient_of_the_sum_over_completions(
    arguments: dict[str, Any], beta: float, temperature: float
) -> None:
    solution = solve(env_of(**arguments))
    policy, reference = tiny_policy(0, temperature=temperature), tiny_policy(1)
    found = exact_gradient(
        policy, solution, reference=NextTokenLogProbs(reference), beta=beta, chunk=3
    )
    objective = plain_objective(policy, reference, solution, beta)
    assert found.objective == pytest.approx(objective.item(), abs=1e-12)
    wanted = torch.autograd.grad(objective, list(policy.model.parameters()))
    assert max(gradient.abs().max().item() for gradient in wanted) > 0.01
    for ours, theirs in zip(found.gradients, wanted, strict=False):  # the value head comes last
        assert_close(ours, theirs, rtol=0, atol=1e-12)
    assert len(found.gradients) == len(list(policy.parameters()))
    assert not any(gradient.any() for gradient in found.gradients[len(wanted) :])


def test_it_agrees_with_the_solver_on_reward_and_divergence() -> None:
    solution = solve(env_of())
    policy, reference = NextTokenLogProbs(tiny_policy(0)), NextTokenLogProbs(tiny_policy(1))
    value = solution.evaluate(policy, reference)
    found = exact_gradient(policy.policy, solution, reference=reference, beta=BETA)
    assert found.expected_reward == pytest.approx(value.expected_reward, abs=1e-13)
    assert found.kl == pytest.approx(value.kl, abs=1e-13)
    assert found.objective == pytest.approx(value.expected_reward - BETA * value.kl, abs=1e-13)
    assert exact_gradient(policy.policy, solution).kl == 0


@pytest.mark.parametrize("masked", ["vocabulary", "constraint"])
def test_it_is_the_slope_found_by_finite_differences_under_masks_too(masked: str) -> None:
    env: Any = env_of(tokenizer=WithHole()) if masked == "vocabulary" else env_of()
    if masked == "constraint":
        env = Constrain(env, MinimumLength(1))
    solution = solve(env)
    vocab_size = env.unwrapped.tokenizer.vocab_size
    policy, reference = tiny_policy(0, vocab_size), tiny_policy(1, vocab_size)
    table = solution.tabulate(NextTokenLogProbs(reference))
    found = exact_gradient(policy, solution, reference=table, beta=BETA)
    random = torch.Generator().manual_seed(0)
    direction = [
        torch.randn(p.shape, generator=random, dtype=torch.float64) for p in policy.parameters()
    ]
    slope = sum((g * d).sum().item() for g, d in zip(found.gradients, direction, strict=True))

    def objective(step: float) -> float:
        moved = copy.deepcopy(policy)
        with torch.no_grad():
            for parameter, d in zip(moved.parameters(), direction, strict=True):
                parameter += step * d
        value = solution.evaluate(NextTokenLogProbs(moved), table)
        return value.expected_reward - BETA * value.kl

    numeric = (objective(1e-5) - objective(-1e-5)) / 2e-5
    assert abs(slope) > 0.01
    assert slope == pytest.approx(numeric, rel=1e-6)


def test_it_vanishes_where_nothing_can_be_gained() -> None:
    solution = solve(env_of())
    policy = tiny_policy(0)
    itself = NextTokenLogProbs(policy)
    constant = solve(env_of(reward_function=lambda prompt, completion: 0.7))
    for task, beta in ((constant, 0.0), (constant, BETA)):
        found = exact_gradient(policy, task, reference=itself, beta=beta)
        assert found.objective == pytest.approx(0.7)
        assert all(gradient.abs().max() < 1e-12 for gradient in found.gradients)
    moving = exact_gradient(policy, solution, reference=itself, beta=BETA)
    assert max(gradient.abs().max().item() for gradient in moving.gradients) > 0.01


def test_it_vanishes_at_the_soft_optimum() -> None:
    """The reference for which the policy is soft-optimal: π₀(y) ∝ π(y)·exp(−R(y)/β)."""
    solution = solve(env_of())
    policy = tiny_policy(0)
    negated = Solution(solution.tree, [-table for table in solution.rewards])
    reference = negated.soft_optimum(NextTokenLogProbs(policy), BETA).policy
    best = solution.soft_optimum(reference, BETA)
    found = exact_gradient(policy, solution, reference=reference, beta=BETA)
    assert found.objective == pytest.approx(best.value, abs=1e-12)
    assert solution.regret(NextTokenLogProbs(policy), reference, BETA) == pytest.approx(
        0, abs=1e-12
    )
    assert all(gradient.abs().max() < 1e-12 for gradient in found.gradients)
    dearer = exact_gradient(policy, solution, reference=reference, beta=1.5 * BETA)
    assert max(gradient.abs().max().item() for gradient in dearer.gradients) > 0.01


def test_ascent_along_it_reaches_the_soft_optimum() -> None:
    solution = solve(env_of(max_new_tokens=2))
    policy = tiny_policy(0)
    reference = solution.tabulate(NextTokenLogProbs(tiny_policy(1)))
    best = solution.soft_optimum(reference, BETA).value
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
    regrets = []
    for _ in range(200):
        found = exact_gradient(policy, solution, reference=reference, beta=BETA)
        regrets.append(best - found.objective)
        for parameter, gradient in zip(policy.parameters(), found.gradients, strict=True):
            parameter.grad = -gradient
        optimizer.step()
    assert regrets[0] > 0.1
    assert -1e-12 < regrets[-1] < 1e-4


def test_each_state_is_shown_to_the_model_twice_and_at_most_a_chunk_at_a_time() -> None:
    solution = solve(env_of())
    policy = tiny_policy(0)
    sizes: list[int] = []
    policy.trunk.register_forward_hook(
        lambda module, args, kwargs, output: sizes.append(len(kwargs["input_ids"])),
        with_kwargs=True,
    )
    exact_gradient(policy, solution, chunk=3)
    assert sum(sizes) == 2 * solution.n_states == 2 * (1 + 2 + 4)
    assert max(sizes) <= 3


def test_it_leaves_parameters_and_their_gradients_alone() -> None:
    policy = tiny_policy(0)
    before = copy.deepcopy(policy.state_dict())
    exact_gradient(policy, solve(env_of()))
    assert all(parameter.grad is None for parameter in policy.parameters())
    assert_close(policy.state_dict(), before, rtol=0, atol=0)


def test_a_price_needs_a_reference_that_excludes_nothing() -> None:
    solution = solve(env_of())
    with pytest.raises(ValueError, match=r"reference must be given where beta is not 0, got"):
        exact_gradient(tiny_policy(0), solution, beta=BETA)
    with pytest.raises(ValueError, match=r"reference must not exclude .* got a KL of inf"):
        exact_gradient(tiny_policy(0), solution, reference=solution.optimal_policy, beta=BETA)
