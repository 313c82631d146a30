"""ACER: its expected gradient, its trust region, its averaged policy, and what it replays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from agents import ACER, ACERConfig, PolicyConfig
from agents.policy.causal_lm import CausalLMPolicy
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

MEMBER = next(member for member in MEMBERS if member.name == "ACER")


def agent_of(**settings: Any) -> ACER:
    plain, reference = tiny_policy(0, 1.0), tiny_policy(1, 1.0)
    policy = CausalLMPolicy(plain.model, PolicyConfig(action_values=True)).double()
    defaults = {"n_episodes": 1, "batch_size": 1, "kl_coef": 0.3, "vf_coef": 0.0}
    config = ACERConfig(**{**defaults, **settings})
    return ACER(policy, Unused(), config, reference=reference)


def expected_gradient(agent: ACER, parameters: list[Any]) -> Tensor:
    """Average what a first step takes from each text, the loss being a mean over its tokens."""
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
    for completion, rewards in zip(COMPLETIONS, REWARDS, strict=True):
        rollout = rollout_of(completion, rewards)
        experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
        agent._accumulate(experience)
        weight = exact_log_prob(agent.policy, completion).exp().item() * len(completion)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        total += weight * torch.cat([gradient.flatten() for gradient in gradients])
    return total


def test_the_expected_gradient_on_policy_is_exact() -> None:
    # On its own texts every ratio is 1, up to the half precision in which μ is kept.
    agent = agent_of(max_kl=None)
    parameters = list(agent.policy.model.parameters())
    ours = expected_gradient(agent, parameters)
    objective = exact_objective(agent.policy, agent.reference, 0.3)
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(-objective, parameters)])
    assert exact.norm() > 0.01
    assert_close(ours, exact, rtol=0, atol=2e-3 * float(exact.norm()))


def test_q_learns_what_its_texts_were_worth() -> None:
    agent = MEMBER.agent(kl_coef=0.0, vf_coef=1.0, n_epochs=4)
    rollout = agent.collect()
    experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
    errors = [agent.update(experience)["train/value_loss"]]
    for _ in range(20):
        again = experience._replace(old_log_probs=agent.forward(rollout.texts)[0].log_probs)
        errors.append(agent.update(again)["train/value_loss"])
    assert errors[-1] < errors[0] / 2


def test_a_narrow_region_bends_steps_and_an_infinite_one_does_not() -> None:
    for max_kl, bent in ((None, False), (1e-6, True)):
        agent = MEMBER.agent(max_kl=max_kl, n_epochs=4)
        rollout = agent.collect()
        experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
        metrics = agent.update(experience)
        assert (metrics["train/trust_region_fraction"] > 0) == bent


def test_the_averaged_policy_follows_slowly() -> None:
    agent = MEMBER.agent(average_decay=0.5, batch_size=16)
    start = agent.policy.head.weight.detach().clone()
    agent.learn(16)  # one step
    expected = (start + agent.policy.head.weight.detach()) / 2
    assert_close(agent._average_policy.head.weight, expected)


def test_replay_keeps_the_distribution_that_wrote_and_learns_from_it_again() -> None:
    agent = MEMBER.agent(replay_size=2, replay_ratio=1)
    agent.learn(48)
    tensors = agent.tensors()
    batches = {name.split(".")[1] for name in tensors if name.startswith("replay.")}
    assert len(batches) == 2
    behaviour = tensors["replay.0.extra:behaviour_log_probs"]
    mask = tensors["replay.0.completion_mask"]
    assert_close(
        behaviour[mask].float().exp().sum(-1), torch.ones(int(mask.sum())), rtol=0, atol=0.01
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_weight", 0.0),
        ("max_kl", 0.0),
        ("average_decay", 1.0),
        ("replay_size", 0),
        ("replay_ratio", -1),
        ("gamma", 2.0),
        ("vf_coef", -1.0),
        ("kl_in", "loss"),
        ("normalize_advantage", True),
    ],
)
def test_a_field_that_breaks_its_rule_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} must be .*, got {value!r}"):
        ACERConfig(**{field: value})


def test_a_policy_without_action_values_is_refused() -> None:
    with pytest.raises(ValueError, match="must have action_values True, got False"):
        MEMBER.agent(options=PolicyConfig())
