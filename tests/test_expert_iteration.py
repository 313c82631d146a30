"""Expert iteration: its weights by hand, its fixed point, and a toy learnt to the soft optimum."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from agents import ExpertIteration, ExpertIterationConfig
from agents.objectives.group_weights import best_weights, exponential_weights
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from tests.test_expected_gradients import agent_of, pair
from tests.test_learning import (
    BETA,
    PROMPTS,
    REWARDS,
    Answers,
    answer_log_probs,
    paid,
)
from tests.test_learning import tiny_policy as policy_of_answers
from text_gym import TextGenVectorEnv
from text_gym.prompt_sources import GroupedPrompts

SCORES = torch.tensor([0.0, 1.0, 5.0, 2.0, 5.0])
GROUPS = torch.tensor([3, 3, 1, 1, 1])


def test_weights_are_exponential_in_the_score() -> None:
    found = exponential_weights(SCORES, GROUPS, kl_coef=0.5)
    e2, e6 = torch.tensor([2.0, -6.0]).exp()
    total = 2 + e6
    assert_close(
        found, torch.stack([1 / (1 + e2), e2 / (1 + e2), 1 / total, e6 / total, 1 / total])
    )


def test_weights_of_far_scores_do_not_overflow() -> None:
    found = exponential_weights(torch.tensor([-5e3, 5e3]), torch.tensor([0, 0]), kl_coef=0.01)
    assert found.tolist() == [0.0, 1.0]


def test_the_best_are_kept_with_those_that_equal_the_last() -> None:
    assert best_weights(SCORES, GROUPS, 1).tolist() == [0.0, 1.0, 0.5, 0.0, 0.5]
    assert best_weights(SCORES, GROUPS, 2).tolist() == [0.5, 0.5, 0.5, 0.0, 0.5]
    equal = best_weights(torch.ones(4), torch.tensor([0, 1, 0, 1]), 1)
    assert equal.tolist() == [0.5] * 4


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="kl_coef must be above 0, but is 0"):
        exponential_weights(SCORES, GROUPS, 0)
    with pytest.raises(ValueError, match="keep must be at least 1, but is 0"):
        best_weights(SCORES, GROUPS, 0)
    with pytest.raises(ValueError, match="scores must be one per episode"):
        best_weights(SCORES[:2], GROUPS, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": 8}, "keep must be below group_size=8"),
        ({"kl_coef": 0.0}, "kl_coef must be above 0 with select_by='weight', got 0.0"),
        ({"kl_in": "loss"}, "kl_in must be 'reward'"),
        ({"normalize_advantage": True}, "normalize_advantage must be False"),
        ({"select_by": "luck"}, "select_by must be 'weight' or 'filter', got 'luck'"),
    ],
)
def test_options_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExpertIterationConfig(**settings)


@pytest.mark.parametrize("settings", [{}, {"select_by": "filter", "keep": 1}])
def test_a_step_is_that_of_weighted_maximum_likelihood(settings: dict[str, Any]) -> None:
    """Two texts of one prompt: the loss is -(w₁ log π(y₁) + w₂ log π(y₂))/2 · 2 by hand."""
    agent = agent_of("ExpertIteration", **settings)
    rollout = pair(0, 2)
    old, ref_log_probs = agent.forward(rollout.texts)
    penalised = rollout.scores - 0.3 * (old.log_probs - ref_log_probs).sum(dim=1)
    weights = (penalised / 0.3).softmax(0) if not settings else (penalised == penalised.max())
    experience, _ = agent.estimate(rollout, old, ref_log_probs)
    agent._accumulate(experience)
    found = torch.cat([p.grad.flatten() for p in agent._parameters])
    loss = -(weights.double() * agent.policy(rollout.texts).log_probs.sum(dim=1)).sum()
    wanted = torch.autograd.grad(loss, agent._parameters)
    assert_close(found, torch.cat([part.flatten() for part in wanted]), rtol=0, atol=1e-12)


def toy(**settings: Any) -> tuple[ExpertIteration, CausalLMPolicy, Answers]:
    tokenizer = Answers()
    envs = TextGenVectorEnv(
        64,
        autoreset_mode="Disabled",
        prompts=GroupedPrompts(list(PROMPTS), 8),
        tokenizer=tokenizer,
        reward_function=paid,
        max_new_tokens=1,
    )
    policy = policy_of_answers(tokenizer.vocab_size, 2, initializer_range=0.2)
    policy = CausalLMPolicy(policy.model, PolicyConfig(value_network="none"))
    defaults = {"n_episodes": 512, "batch_size": 256, "kl_coef": BETA, "learning_rate": 3e-3}
    config = ExpertIterationConfig(**{**defaults, **settings})
    return ExpertIteration(policy, envs, config), policy, tokenizer


def objective(log_probs: Tensor, start: Tensor) -> Tensor:
    """E[R] - β KL, of each prompt."""
    rewards = torch.from_numpy(REWARDS).float()
    return (log_probs.exp() * (rewards - BETA * (log_probs - start))).sum(-1)


def test_weighted_it_learns_to_the_soft_optimum_and_stays_there() -> None:
    agent, policy, tokenizer = toy()
    start = answer_log_probs(policy, tokenizer)
    best = BETA * (start + torch.from_numpy(REWARDS).float() / BETA).logsumexp(-1)
    assert (best - objective(start, start)).max() > 0.1
    agent.learn(512 * 40)
    regret = best - objective(answer_log_probs(policy, tokenizer), start)
    assert regret.max() < 0.01


def test_filtered_it_ends_with_the_best_answers() -> None:
    agent, policy, tokenizer = toy(select_by="filter", kl_coef=0.0)
    agent.learn(512 * 15)
    rewards = torch.from_numpy(REWARDS).float()
    reached = (answer_log_probs(policy, tokenizer).exp() * rewards).sum(-1)
    assert (reached >= 0.95 * rewards.max(dim=-1).values).all()
