"""Texts that a writer sampled otherwise than the policy would: measured, weighed, refused."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from agents import PPO, PPOConfig
from agents.algorithms.health_checks import TrainingStopped
from agents.algorithms.weighing import MAX_WEIGHT, WEIGHTS
from agents.objectives.policy_losses import truncated_importance_weights, truncated_text_weights
from agents.rollout.buffer import Rollout, concatenated_rollouts
from tests.fake_writers import TemperedWriter
from tests.members import MEMBERS, Member
from tests.test_expected_gradients import BETA, agent_of, exact_gradient, pair
from tests.test_policy_gradient import (
    COMPLETIONS,
    EOS,
    PROMPT,
    REWARDS,
    WORD,
    Unused,
    exact_log_prob,
    rollout_of,
    tiny_policy,
)

TEMPERATURE = 1.4
"""Of the writer; the policy's is 1."""


class EndsTold(Unused):
    """Says what a writer must know."""

    end_of_text_ids = frozenset({EOS})


def writer_log_probs(agent: Any, completion: list[int]) -> Tensor:
    """Return log μ of each token, 0 at the prompt, (1, T)."""
    logits = agent.policy.model(torch.tensor([PROMPT + completion])).logits[0].detach()
    said = (logits / TEMPERATURE).log_softmax(-1)
    chosen = [said[place, token] for place, token in enumerate(completion)]
    return torch.stack([torch.zeros((), dtype=said.dtype), *chosen])[None]


def sampled_by_writer(agent: Any, rollout: Rollout, completions: list[list[int]]) -> Rollout:
    parts = [writer_log_probs(agent, completion) for completion in completions]
    for row, part in enumerate(parts):
        rollout.log_probs[row, : part.shape[1]] = part[0]
    return rollout


def gradients(agent: Any) -> Tensor:
    parts = [
        torch.zeros_like(p) if p.grad is None else p.grad for p in agent.policy.model.parameters()
    ]
    return torch.cat([part.flatten() for part in parts])


def ppo(*, writes: bool, kl_in: Any = "reward", kl_estimator: Any = "k2") -> PPO:
    settings = {"n_episodes": 1, "batch_size": 1, "normalize_advantage": False, "vf_coef": 0.0}
    config = PPOConfig(
        **settings, gae_lambda=1.0, kl_coef=BETA, kl_in=kl_in, kl_estimator=kl_estimator
    )
    policies = tiny_policy(0, 1.0), tiny_policy(1, 1.0)
    writer = TemperedWriter(TEMPERATURE) if writes else None
    return PPO(policies[0], EndsTold(), config, reference=policies[1], writer=writer)


Texts = list[tuple[list[int], list[float]]]

TEXTS: Texts = list(zip(COMPLETIONS, REWARDS, strict=True))
ONE_TOKEN: Texts = [([EOS], [0.7]), ([WORD], [0.5])]
"""What is written where a text ends after its first token in any case."""


def expected_gradient(agent: PPO, texts: Texts) -> Tensor:
    """Average what PPO's first step takes from each text of the writer, times its tokens."""
    total = torch.zeros_like(gradients(agent))
    for completion, rewards in texts:
        rollout = sampled_by_writer(agent, rollout_of(completion, rewards), [completion])
        experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
        agent._accumulate(experience)
        total += rollout.log_probs.sum().exp() * len(completion) * gradients(agent)
    return total


def exact_gradient_of(agent: PPO, texts: Texts) -> Tensor:
    """Return the gradient of β KL - E[R] under the policy."""
    terms = []
    for completion, rewards in texts:
        log_prob = exact_log_prob(agent.policy, completion)
        distance = log_prob - exact_log_prob(agent.reference, completion).detach()
        terms.append(log_prob.exp() * (BETA * distance - sum(rewards)))
    found = torch.autograd.grad(torch.stack(terms).sum(), list(agent.policy.model.parameters()))
    return torch.cat([part.flatten() for part in found])


def errors(texts: Texts, **settings: str) -> tuple[float, float]:
    """Return how far the expected gradient lies from the exact one, corrected and not."""
    agents = ppo(writes=True, **settings), ppo(writes=False, **settings)
    exact = exact_gradient_of(agents[0], texts)
    assert exact.norm() > 0.01
    first, second = (error(expected_gradient(agent, texts), exact) for agent in agents)
    return first, second


def error(gradient: Tensor, exact: Tensor) -> float:
    return float((gradient - exact).norm() / exact.norm())


@pytest.mark.parametrize(
    "settings",
    [{}, {"kl_in": "loss"}, {"kl_in": "loss", "kl_estimator": "exact"}],
    ids=["in the reward", "in the loss", "exact"],
)
def test_with_one_token_the_expected_gradient_is_the_policys(settings: dict[str, str]) -> None:
    corrected, plain = errors(ONE_TOKEN, **settings)
    assert corrected < 1e-6
    assert plain > 0.05


def test_with_more_tokens_little_of_the_error_is_left() -> None:
    """A token is weighed by itself: what was written before and after it stays the writer's."""
    corrected, plain = errors(TEXTS)
    assert corrected == pytest.approx(0.0741, abs=1e-3)
    assert plain == pytest.approx(2.025, abs=1e-2)


def test_whole_texts_are_weighed_exactly() -> None:
    agent = agent_of("RLOO", kl_in="reward")
    exact = exact_gradient(agent)
    found = []
    for writer in (TemperedWriter(TEMPERATURE), None):
        agent.writer = writer
        total = torch.zeros_like(exact)
        for first, second in itertools.product(range(len(COMPLETIONS)), repeat=2):
            texts = [COMPLETIONS[first], COMPLETIONS[second]]
            rollout = sampled_by_writer(agent, pair(first, second), texts)
            experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
            agent._accumulate(experience)
            total += rollout.log_probs.sum().exp() * gradients(agent)
        found.append(total)
    assert_close(found[0], exact, rtol=0, atol=1e-7)
    assert error(found[1], exact) > 0.05


def test_weights_are_cut_at_two() -> None:
    log_probs = torch.tensor([[0.0, -1.0, -1.0], [0.0, -1.0, 0.0]])
    written = torch.tensor([[0.0, -2.0, -1.5], [0.0, -0.5, 0.0]])
    mask = torch.tensor([[False, True, True], [False, True, False]])
    tokens = truncated_importance_weights(log_probs, written, mask, MAX_WEIGHT)
    assert_close(tokens, torch.tensor([[0.0, 2.0, math.exp(0.5)], [0.0, math.exp(-0.5), 0.0]]))
    texts = truncated_text_weights(log_probs, written, mask, MAX_WEIGHT)
    assert_close(texts, torch.tensor([[0.0, 2.0, 2.0], [0.0, math.exp(-0.5), 0.0]]))


def test_a_writer_that_is_the_policy_changes_no_bit() -> None:
    rollout = concatenated_rollouts(
        [rollout_of(text, paid) for text, paid in zip(COMPLETIONS, REWARDS, strict=True)]
    )
    with_writer, without = ppo(writes=True), ppo(writes=False)
    old, reference = without.forward(rollout.texts)
    rollout = Rollout(
        rollout.texts, rollout.rewards, old.log_probs, rollout.truncated, rollout.infos
    )
    weighed, metrics = with_writer.estimate(rollout, old, reference)
    plain, _ = without.estimate(rollout, old, reference)
    assert torch.equal(weighed.advantages, plain.advantages)
    assert metrics["rollout/writer_mismatch"] == metrics["rollout/writer_kl_per_token"] == 0


def test_the_mismatch_is_measured() -> None:
    agent = ppo(writes=True)
    completion = [WORD, EOS]
    rollout = sampled_by_writer(agent, rollout_of(completion, [0.0, 0.0]), [completion])
    old, reference = agent.forward(rollout.texts)
    _, metrics = agent.estimate(rollout, old, reference)
    ratios = [float(r) for r in (old.log_probs - rollout.log_probs)[0, 1:]]
    mean = sum(abs(ratio) for ratio in ratios) / 2
    assert metrics["rollout/writer_mismatch"] == pytest.approx(mean, rel=1e-6)
    kl = sum(math.expm1(ratio) - ratio for ratio in ratios) / 2
    assert metrics["rollout/writer_kl_per_token"] == pytest.approx(kl, rel=1e-6)


WEIGHED = {
    "RLOO": "texts",
    "GSPO": "texts",
    "expert iteration": "texts",
    "best of a group": "texts",
    "minimum risk": "nothing",
    "trajectory balance": "nothing",
}
"""Of the others, tokens are weighed."""

WEIGH: dict[str, Any] = {
    "tokens": truncated_importance_weights,
    "texts": truncated_text_weights,
    "nothing": None,
}


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_every_algorithm_learns_from_a_writer_or_says_why_not(member: Member) -> None:
    if member.algorithm == "ACER":
        with pytest.raises(ValueError, match="writer must be None for ACER"):
            member.agent(writer=TemperedWriter())
        return
    agent = member.agent(writer=TemperedWriter(1.1))
    before = [parameter.clone() for parameter in agent.policy.trainable_parameters().values()]
    agent.learn(16)
    after = agent.policy.trainable_parameters().values()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    rollout = agent.collect()
    experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
    weights = experience.extras.get(WEIGHTS)
    weigh = WEIGH[WEIGHED.get(member.name, "tokens")]
    if weigh is None:
        assert weights is None
    else:
        mask = rollout.texts.completion_mask
        expected = weigh(experience.old_log_probs, rollout.log_probs, mask, MAX_WEIGHT)
        assert expected[mask].min() < 1 < expected.max()
        assert torch.equal(weights, expected)


def test_a_writer_far_from_the_policy_stops_the_run() -> None:
    options = MEMBERS[0].options(temperature=0.05)
    agent = MEMBERS[0].agent(options=options, writer=TemperedWriter(20.0))
    with pytest.raises(TrainingStopped, match=r"a writer must stay within 0\.1 nats per token"):
        agent.learn(16)


def test_a_resumed_run_goes_on_with_the_writer_bit_for_bit(tmp_path: Path) -> None:
    member = MEMBERS[0]
    agent = member.agent(writer=TemperedWriter(1.1)).learn(16)
    agent.save(tmp_path)
    agent.learn(32)
    envs = member.environments()
    resumed = PPO.load(tmp_path, envs, writer=TemperedWriter(1.1)).learn(32)
    for ours, theirs in zip(resumed.policy.parameters(), agent.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
