"""PPO's gradient against the exact gradient of the exact objective, by enumerating all texts.

Two tokens and three steps make four texts. Weighted with their probabilities, the gradients that
PPO takes from each of them must add up to the gradient of E[R] - β KL(π ‖ π₀), which autograd
gives.
"""

from __future__ import annotations

import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor
from torch.testing import assert_close
from transformers import GPT2Config

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.token_batch import TokenBatch
from agents.rollout.buffer import Rollout

EOS, WORD = 0, 1
PROMPT = [WORD]
COMPLETIONS = [[EOS], [WORD, EOS], [WORD, WORD, EOS], [WORD, WORD, WORD]]
REWARDS = [[0.7], [0.5, -1.3], [0.5, -0.2, 2.1], [0.5, -0.2, 0.9]]
"""Paid at each step for the text up to there, as wrappers with dense rewards do."""
LENGTH = 4


class Unused(VectorEnv):
    """Has the spaces of the task; nothing steps it."""

    def __init__(self) -> None:
        self.num_envs = 1
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_action_space = spaces.Discrete(2)
        self.single_observation_space = spaces.Dict(
            input_ids=spaces.Box(0, 1, (LENGTH,), int),
            attention_mask=spaces.Box(0, 1, (LENGTH,), int),
        )


def tiny_policy(seed: int, temperature: float) -> CausalLMPolicy:
    config = GPT2Config(vocab_size=2, n_embd=8, n_layer=1, n_head=2, n_positions=LENGTH)
    config.initializer_range = 0.5
    config.bos_token_id = config.eos_token_id = EOS
    return CausalLMPolicy.from_config(config, seed=seed, temperature=temperature).double()


def rollout_of(completion: list[int], rewards: list[float]) -> Rollout:
    text = torch.tensor([PROMPT + completion])
    chosen = torch.tensor([[False] + [True] * len(completion)])
    paid = torch.tensor([[0.0, *rewards]], dtype=torch.float64)
    return Rollout(
        texts=TokenBatch(text, torch.ones_like(chosen), chosen),
        rewards=paid,
        log_probs=torch.zeros_like(paid),
        truncated=torch.tensor([False]),
        infos=[{}],
    )


def exact_log_prob(policy: CausalLMPolicy, completion: list[int]) -> Tensor:
    logits = policy.model(torch.tensor([PROMPT + completion])).logits[0] / policy.temperature
    said = logits.log_softmax(-1)
    return torch.stack([said[t, token] for t, token in enumerate(completion)]).sum()


def exact_objective(policy: CausalLMPolicy, reference: CausalLMPolicy, beta: float) -> Tensor:
    """E[R] - β KL(π ‖ π₀)."""
    terms = []
    for completion, rewards in zip(COMPLETIONS, REWARDS, strict=True):
        log_prob = exact_log_prob(policy, completion)
        distance = log_prob - exact_log_prob(reference, completion).detach()
        terms.append(log_prob.exp() * (sum(rewards) - beta * distance))
    return torch.stack(terms).sum()


def expected_gradient(agent: PPO) -> list[Tensor]:
    """Sums what PPO's first step takes from each text, times its probability and its tokens."""
    total = [torch.zeros_like(parameter) for parameter in agent.policy.parameters()]
    for completion, rewards in zip(COMPLETIONS, REWARDS, strict=True):
        rollout = rollout_of(completion, rewards)
        old, ref_log_probs = agent.forward(rollout.texts)
        experience, _ = agent.estimate(rollout, old, ref_log_probs)
        agent._accumulate(experience)  # the loss is a mean over the text's tokens
        weight = old.log_probs.sum().exp().item() * len(completion)
        for sum_, parameter in zip(total, agent.policy.parameters(), strict=True):
            if parameter.grad is not None:
                sum_ += weight * parameter.grad
    return total


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_expected_gradient_is_the_gradient_of_the_exact_objective(
    beta: float, temperature: float
) -> None:
    policy, reference = tiny_policy(0, temperature), tiny_policy(1, temperature)
    probabilities = [exact_log_prob(policy, completion).exp().item() for completion in COMPLETIONS]
    assert sum(probabilities) == pytest.approx(1, abs=1e-12)
    config = PPOConfig(
        n_episodes=1,
        batch_size=1,
        normalize_advantage=False,
        gae_lambda=1.0,
        kl_coef=beta,
        vf_coef=0.0,
    )
    agent = PPO(policy, Unused(), config, reference=reference)
    ours = expected_gradient(agent)
    objective = exact_objective(policy, reference, beta)
    exact = torch.autograd.grad(-objective, list(policy.model.parameters()))
    assert max(gradient.abs().max().item() for gradient in exact) > 0.01
    for mine, wanted in zip(ours, exact, strict=False):  # the value head comes last, and gets none
        assert_close(mine, wanted, rtol=0, atol=1e-8)
    assert not any(gradient.any() for gradient in ours[len(exact) :])


@pytest.mark.parametrize("gae_lambda", [0.0, 0.95])
def test_exact_values_make_lambda_irrelevant(gae_lambda: float) -> None:
    """With V the true value of each prefix, every λ gives the same expected gradient."""
    policy = tiny_policy(0, 1.0)
    config = PPOConfig(
        n_episodes=1,
        batch_size=1,
        normalize_advantage=False,
        gae_lambda=gae_lambda,
        kl_coef=0.0,
        vf_coef=0.0,
    )
    agent = PPO(policy, Unused(), config)
    values = true_values(policy)
    total = [torch.zeros_like(parameter) for parameter in policy.model.parameters()]
    for completion, rewards in zip(COMPLETIONS, REWARDS, strict=True):
        rollout = rollout_of(completion, rewards)
        old, ref_log_probs = agent.forward(rollout.texts)
        known = torch.tensor([[0.0, *values[: len(completion)]]], dtype=torch.float64)
        experience, _ = agent.estimate(rollout, old._replace(values=known), ref_log_probs)
        agent._accumulate(experience)
        weight = old.log_probs.sum().exp().item() * len(completion)
        for sum_, parameter in zip(total, policy.model.parameters(), strict=True):
            sum_ += weight * (0 if parameter.grad is None else parameter.grad)
    exact = torch.autograd.grad(
        -exact_objective(policy, agent.reference, 0.0), list(policy.model.parameters())
    )
    for mine, wanted in zip(total, exact, strict=True):
        assert_close(mine, wanted, rtol=0, atol=1e-8)


def true_values(policy: CausalLMPolicy) -> list[float]:
    """The expected rewards to come after 0, 1 and 2 words."""
    values = []
    for written in range(3):
        going_on = [i for i, text in enumerate(COMPLETIONS) if len(text) > written]
        with torch.no_grad():
            weights = torch.stack([exact_log_prob(policy, COMPLETIONS[i]) for i in going_on])
        to_come = torch.tensor([sum(REWARDS[i][written:]) for i in going_on], dtype=torch.float64)
        values.append((weights.softmax(0) * to_come).sum().item())
    return values
