"""TRPO: steps in their region, along the exact gradient, taken back where they do not pay."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from agents import TRPO, TRPOConfig
from agents.algorithms.configs.trpo import TRPOConfig as Config
from agents.objectives.kl import exact_kl
from tests.members import MEMBERS
from tests.test_policy_gradient import (
    COMPLETIONS,
    REWARDS,
    Unused,
    exact_log_prob,
    exact_objective,
    rollout_of,
    tiny_policy,
)

MEMBER = next(member for member in MEMBERS if member.name == "TRPO")


def experience_of(agent: Any) -> Any:
    rollout = agent.collect()
    return agent.estimate(rollout, *agent.forward(rollout.texts))[0]


def bits(agent: Any) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in agent.policy.model.parameters()]


def test_a_step_improves_the_surrogate_and_stays_in_the_region() -> None:
    agent = MEMBER.agent(max_kl=0.003)
    experience = experience_of(agent)
    old = agent.policy.distributions(experience.texts).detach()
    metrics = agent.update(experience)
    kl = exact_kl(old, agent.policy.distributions(experience.texts)).mean().item()
    assert metrics["train/step_kl"] == pytest.approx(kl, rel=1e-6)
    assert 0.001 < kl < 0.003
    assert metrics["train/surrogate_gain"] > 0
    assert metrics["train/line_search_factor"] > 0


def test_a_rejected_step_restores_the_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = MEMBER.agent()
    experience, before = experience_of(agent), bits(agent)
    tried: list[float] = []

    def worse(self: Any, parts: Any, old: Any, n_tokens: int) -> tuple[float, float]:
        tried.append(float((self.policy.head.weight - before[-1]).abs().max()))
        return -math.inf, 0.0

    monkeypatch.setattr(TRPO, "_surrogate_and_kl", worse)
    metrics = agent.update(experience)
    assert len(tried) == agent.config.line_search_trials
    assert metrics["train/line_search_factor"] == metrics["train/step_kl"] == 0
    assert all(map(torch.equal, bits(agent), before))


def test_values_learn_while_the_policy_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TRPO, "_surrogate_and_kl", lambda *_: (-math.inf, 0.0))
    agent = MEMBER.agent()
    values = agent.policy.value_head.weight.detach().clone()
    agent.update(experience_of(agent))
    assert not torch.equal(agent.policy.value_head.weight, values)
    assert len(agent.policy.trainable_parameters()) == len(list(agent.policy.parameters()))


def test_without_advantages_nothing_moves() -> None:
    agent = MEMBER.agent()
    experience, before = experience_of(agent), bits(agent)
    metrics = agent.update(experience._replace(advantages=torch.zeros_like(experience.advantages)))
    assert metrics["train/policy_grad_norm"] == 0
    assert all(map(torch.equal, bits(agent), before))


def test_fisher_products_are_those_of_the_explicit_matrix() -> None:
    """F = E_s[Σ_a π(a) ∇log π(a) ∇log π(a)ᵀ], over the states of the batch."""
    agent = MEMBER.agent(cg_damping=0.5)
    experience = experience_of(agent).select(torch.arange(3))
    parameters = [agent.policy.model.transformer.ln_f.weight, agent.policy.model.lm_head.weight]
    log_probs = agent.policy.distributions(experience.texts)
    n_tokens, n_actions = log_probs.shape
    n = sum(parameter.numel() for parameter in parameters)
    fisher = torch.zeros(n, n, dtype=torch.float64)
    for row in range(n_tokens):
        for action in range(n_actions):
            score = torch.cat(
                [
                    gradient.flatten()
                    for gradient in torch.autograd.grad(
                        log_probs[row, action], parameters, retain_graph=True
                    )
                ]
            )
            fisher += log_probs[row, action].exp().detach() * score.outer(score) / n_tokens
    vector = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = agent._fisher_product([experience], parameters, vector, n_tokens)
    assert_close(ours, fisher @ vector + 0.5 * vector, rtol=0, atol=1e-12)


def test_the_expected_gradient_of_the_surrogate_is_exact() -> None:
    policy, reference = tiny_policy(0, 1.0), tiny_policy(1, 1.0)
    config = TRPOConfig(
        n_episodes=1, batch_size=1, normalize_advantage=False, gae_lambda=1.0, kl_coef=0.3
    )
    agent = TRPO(policy, Unused(), config, reference=reference)
    parameters = list(policy.model.parameters())
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
    for completion, rewards in zip(COMPLETIONS, REWARDS, strict=True):
        rollout = rollout_of(completion, rewards)
        experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
        _, gradient = agent._surrogate_and_gradient([experience], parameters, 1)
        total += exact_log_prob(policy, completion).exp().item() * gradient
    exact = torch.autograd.grad(exact_objective(policy, reference, 0.3), parameters)
    assert_close(total, torch.cat([g.flatten() for g in exact]), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("max_kl", 0.0, "above 0"),
        ("cg_damping", -1.0, "at least 0"),
        ("cg_iterations", 0, "at least 1"),
        ("line_search_trials", 0, "at least 1"),
        ("line_search_shrink", 1.0, r"in \(0, 1\)"),
        ("gae_lambda", 2.0, r"in \[0, 1\]"),
        ("kl_in", "loss", "'reward'"),
        ("ent_coef", 0.1, "0: the trust region"),
        ("target_kl", 0.1, "None: max_kl"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be {rule}.*, got {value!r}"):
        Config(**{field: value})
