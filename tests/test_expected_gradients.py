"""Each algorithm's expected gradient at the sampling policy against the exact one, by enumeration.

The task is that of `test_policy_gradient`: four texts. Algorithms that compare texts are given
every pair of them, weighted with its probability. Where the authors intend a bias, its size stands
here.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

import agents
from agents.algorithms.policy_gradient import Credit
from agents.objectives.credit import over_tokens
from agents.rollout.buffer import Rollout, concatenated_rollouts
from tests.test_policy_gradient import (
    COMPLETIONS,
    REWARDS,
    Unused,
    exact_log_prob,
    exact_objective,
    rollout_of,
    tiny_policy,
)

BETA = 0.3


def agent_of(algorithm: str, **settings: Any) -> Any:
    policy, reference = tiny_policy(0, 1.0), tiny_policy(1, 1.0)
    policy.value_head = None
    policy.options = agents.PolicyConfig(value_network="none", dtype="float64")
    config_class = getattr(agents, f"{algorithm}Config")
    defaults = {"n_episodes": 2, "batch_size": 2, "normalize_advantage": False, "kl_coef": BETA}
    if algorithm != "REINFORCE":
        defaults["group_size"] = 2
    config = config_class(**{**defaults, **settings})
    return getattr(agents, algorithm)(policy, Unused(), config, reference=reference)


def pair(first: int, second: int) -> Rollout:
    parts = [rollout_of(COMPLETIONS[i], REWARDS[i]) for i in (first, second)]
    rollout = concatenated_rollouts(parts)
    return Rollout(
        rollout.texts,
        rollout.rewards,
        rollout.log_probs,
        rollout.truncated,
        rollout.infos,
        torch.zeros(2, dtype=torch.int64),
    )


def expected_gradient(agent: Any, *, per_token: bool) -> Tensor:
    """Average what a first step takes from every pair of texts, (parameters,).

    Args:
        agent: Learns from two texts at a time.
        per_token: Whether its loss is divided by the tokens of the pair, which is undone here: the
            mean of a quotient is not the quotient of the means.
    """
    log_probs = [exact_log_prob(agent.policy, text).item() for text in COMPLETIONS]
    total = torch.zeros(sum(p.numel() for p in agent.policy.parameters()), dtype=torch.float64)
    for first, second in itertools.product(range(len(COMPLETIONS)), repeat=2):
        rollout = pair(first, second)
        experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
        agent._accumulate(experience)
        weight = torch.tensor(log_probs[first] + log_probs[second]).exp()
        weight = weight * experience.n_tokens / 2 if per_token else weight
        gradients = [
            torch.zeros_like(p) if p.grad is None else p.grad for p in agent.policy.parameters()
        ]
        total += weight * torch.cat([gradient.flatten() for gradient in gradients])
    return total


def exact_gradient(agent: Any) -> Tensor:
    objective = exact_objective(agent.policy, agent.reference, BETA)
    gradients = torch.autograd.grad(-objective, list(agent.policy.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])


UNBIASED = [
    ("RLOO", {}, False, 1.0),
    ("TrajectoryBalance", {}, False, 0.5),
    # The mean of the group contains the text itself: half of the leave-one-out advantage.
    ("GRPO", {"scale_by": "nothing", "aggregation": "token"}, True, 0.5),
    ("GRPO", {"scale_by": "nothing", "aggregation": "constant", "max_tokens": 1}, False, 0.5),
    (
        "GRPO",
        {"scale_by": "nothing", "aggregation": "token", "ratio": "clipped_weight"},
        True,
        0.5,
    ),
]


@pytest.mark.parametrize(("algorithm", "settings", "per_token", "factor"), UNBIASED)
def test_unbiased(algorithm: str, settings: dict[str, Any], per_token: bool, factor: float) -> None:
    agent = agent_of(algorithm, kl_in="reward", **settings)
    exact = exact_gradient(agent)
    assert exact.norm() > 0.01
    ours = expected_gradient(agent, per_token=per_token)
    assert_close(ours, factor * exact, rtol=0, atol=1e-7)


BIASED = [
    ("the mean of a batch of two", "REINFORCE", {"baseline": "batch_mean"}, True, 0.9996),
    ("the group's spread", "GRPO", {"kl_in": "reward", "aggregation": "token"}, True, 0.9966),
    (
        "each text weighs the same",
        "GRPO",
        {"scale_by": "nothing", "kl_in": "reward"},
        False,
        0.9986,
    ),
    ("k3 token by token, and both above", "GRPO", {}, False, 0.9637),
    ("one ratio a text", "GRPO", {"ratio": "sequence", "kl_in": "reward"}, False, 0.9783),
]
"""What the authors intend, and the cosine with the exact gradient that is left of it here."""


@pytest.mark.parametrize(
    ("algorithm", "settings", "per_token", "cosine"),
    [case[1:] for case in BIASED],
    ids=[case[0] for case in BIASED],
)
def test_intended_bias(
    algorithm: str, settings: dict[str, Any], per_token: bool, cosine: float
) -> None:
    agent = agent_of(algorithm, **settings)
    ours = expected_gradient(agent, per_token=per_token)
    got = float(cosine_similarity(ours, exact_gradient(agent), dim=0))
    assert got == pytest.approx(cosine, abs=1e-4)


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("REINFORCE", {"baseline": "batch_mean"}),
        ("RLOO", {}),
        ("GRPO", {"aggregation": "token"}),
        ("GRPO", {"aggregation": "sequence"}),
        ("GRPO", {"aggregation": "constant", "max_tokens": 7}),
        ("GRPO", {"ratio": "sequence"}),
        ("GRPO", {"ratio": "clipped_weight"}),
    ],
)
def test_a_nat_in_the_loss_costs_what_it_costs_in_the_reward(
    algorithm: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """k1's gradient is that of the log-probs: with advantages of β everywhere nothing is left."""
    agent = agent_of(algorithm, kl_in="loss", kl_estimator="k1", **settings)
    monkeypatch.setattr(
        agent,
        "advantages",
        lambda rollout, rewards, old: Credit(
            over_tokens(torch.full_like(rewards[:, 0], BETA), rollout.texts.completion_mask)
        ),
    )
    lengths = [len(text) for text in COMPLETIONS]
    rollout = pair(lengths.index(min(lengths)), lengths.index(max(lengths)))
    assert len(set(rollout.texts.lengths.tolist())) == 2
    experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
    agent._accumulate(experience)
    for parameter in agent.policy.parameters():
        if parameter.grad is not None:
            assert_close(parameter.grad, torch.zeros_like(parameter), rtol=0, atol=1e-12)
