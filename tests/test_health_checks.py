"""Guards: what stops a run, with which words, and that no parameter has moved by then."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPT2Config

from agents.algorithms import health_checks
from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.diagnostics import Statistics
from agents.algorithms.experience import Experience, StepTotals
from agents.algorithms.health_checks import TrainingStopped, TrainingWarning
from agents.algorithms.ppo import PPO
from agents.policy.causal_lm import CausalLMPolicy, PolicyOutputs
from agents.policy.token_batch import TokenBatch
from agents.rollout.buffer import Rollout
from text_gym import CharTokenizer, TextGenVectorEnv


def letters(prompt: str, completion: str) -> float:
    return float(completion.count("a"))


def agent(
    kind: type[PPO] = PPO, reward: Callable[[str, str], float] = letters, **changes: Any
) -> PPO:
    envs = TextGenVectorEnv(
        4,
        prompts=["a", "b"],
        tokenizer=CharTokenizer("ab"),
        reward_function=reward,
        max_new_tokens=5,
        autoreset_mode="Disabled",
    )
    config = GPT2Config(
        vocab_size=3, n_positions=6, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    settings = {"n_episodes": 8, "batch_size": 4, "learning_rate": 1e-2, **changes}
    return kind(CausalLMPolicy.from_config(config), envs, PPOConfig(**settings))


def parameters(one: PPO) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in one.policy.parameters()]


def assert_stops_unmoved(one: PPO, message: str) -> None:
    before = parameters(one)
    with pytest.raises(TrainingStopped, match=message) as caught:
        one.learn(64)
    assert "\n" not in str(caught.value)
    assert all(map(torch.equal, before, parameters(one)))


class BrokenRewards(PPO):
    """As a foreign environment might pay; text_gym refuses to."""

    def collect(self) -> Rollout:
        rollout = super().collect()
        rollout.rewards[3, 2] = math.nan
        return rollout


class Foreign(BrokenRewards):
    """With an environment that reports no texts."""

    def collect(self) -> Rollout:
        rollout = super().collect()
        for info in rollout.infos:
            del info["text_episode"]
        return rollout


class BrokenValues(PPO):
    def forward(self, texts: TokenBatch) -> tuple[PolicyOutputs, Tensor]:
        old, ref_log_probs = super().forward(texts)
        return old._replace(values=torch.full_like(old.values, 1e20)), ref_log_probs


class BrokenLoss(PPO):
    def loss(self, *arguments: Any) -> tuple[Tensor, Statistics]:
        loss, statistics = super().loss(*arguments)
        return loss * torch.inf, statistics


class BrokenGradient(PPO):
    def loss(self, *arguments: Any) -> tuple[Tensor, Statistics]:
        loss, statistics = super().loss(*arguments)
        loss.register_hook(lambda gradient: gradient * torch.nan)
        return loss, statistics


class Exhausted(PPO):
    def forward(self, texts: Any) -> Any:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (BrokenRewards, r"rewards must be finite .*, got nan in 1 of 8 .* number 3, '.*' after '"),
        (Foreign, r"first in number 3, tokens \[.*\], paid nan; nothing was learnt"),
        (
            BrokenValues,
            r"returns must be finite .*, got 5e\+18 .*the rewards are sound.*: lower le",
        ),
        (BrokenLoss, "the loss must be finite, got inf; the step was not taken"),
        (BrokenGradient, "the norm of the gradient must be finite, got nan; the step was not"),
        (Exhausted, "out of memory: lower micro_batch_size"),
    ],
)
def test_a_broken_number_never_reaches_the_parameters(kind: type[PPO], message: str) -> None:
    assert_stops_unmoved(agent(kind), message)


@pytest.mark.parametrize("changes", [{}, {"whiten_rewards": True}, {"kl_coef": 0.0}])
@pytest.mark.parametrize("reward", [1e16, 1e30, -1e38])
def test_one_monstrous_reward_of_64_stops_the_run_before_the_first_step(
    reward: float, changes: dict[str, Any]
) -> None:
    paid = iter([0.5] * 40 + [reward] + [0.5] * 999)
    one = agent(reward=lambda prompt, completion: next(paid), n_episodes=64, **changes)
    number = re.escape(f"{np.float32(reward):g}")
    assert_stops_unmoved(
        one,
        rf"rewards must be finite and at most 1e\+15 in size, got {number} in 1 of 64 episodes, "
        rf"first in number \d+, '[ab]*' after '[ab]', paid {number}; nothing was learnt from them: "
        "mend the reward function$",
    )


def test_the_largest_reward_allowed_leaves_every_number_finite() -> None:
    paid = itertools.cycle([0.5] * 7 + [1e15])
    agent(reward=lambda prompt, completion: next(paid), ent_coef=0.1).learn(32)


def test_a_long_text_is_named_by_its_beginning() -> None:
    rollout = agent().collect()
    rollout.infos[0]["text_episode"] = SimpleNamespace(prompt="p" * 10**6, completion="c" * 10**6)
    assert len(rollout.named(0)) < 250


def test_exploding_ratios_stop_the_run() -> None:
    class Exploding(PPO):
        """Behaves as if its second minibatch met a policy far from the one that wrote."""

        def _forward(self, part: Experience, totals: StepTotals) -> tuple[Tensor, Statistics]:
            exploded = self.policy.head.weight.ne(first_weight).any()
            if exploded:
                part = part._replace(old_log_probs=part.old_log_probs - math.log(20))
                stepped.extend(parameters(self))
            return super()._forward(part, totals)

    one = agent(Exploding)
    first_weight = one.policy.head.weight.detach().clone()
    stepped: list[Tensor] = []
    with pytest.raises(TrainingStopped, match=r"mean ratio of new to old .*; the step was not"):
        one.learn(800)
    assert all(map(torch.equal, stepped, parameters(one)))


def test_an_exploding_kl_stops_the_run_where_it_has_a_price() -> None:
    health_checks.require_bounded_kl(9.9, kl_coef=0.1)
    health_checks.require_bounded_kl(99.0, kl_coef=0.0)
    with pytest.raises(TrainingStopped, match=r"below 10 nats per token, got 10.1: raise kl_coef"):
        health_checks.require_bounded_kl(10.1, kl_coef=0.1)


@pytest.mark.parametrize(
    ("ratio", "sound"), [(10.0, True), (10.1, False), (0.1, True), (0.09, False)]
)
def test_the_mean_ratio_has_limits(ratio: float, sound: bool) -> None:
    if sound:
        health_checks.require_sound_step(0.1, 1.0, ratio)
    else:
        with pytest.raises(TrainingStopped, match="within a factor of 10"):
            health_checks.require_sound_step(0.1, 1.0, ratio)


def test_equal_rewards_are_announced_once() -> None:
    with pytest.warns(
        TrainingWarning, match="all 8 episodes of the first batch were paid 7"
    ) as seen:
        agent(reward=lambda prompt, completion: 7.0).learn(24)
    assert len(seen) == 1


def test_a_collapsed_policy_is_announced() -> None:
    with pytest.warns(TrainingWarning, match=r"entropy has fallen below 0.01 nats per token"):
        health_checks.warn_of_collapse(0.009)


def test_a_healthy_run_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent().learn(32)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_running_out_of_memory_ends_with_advice(error: Exception) -> None:
    with pytest.raises(TrainingStopped, match="out of memory: write less"):  # noqa: SIM117
        with health_checks.memory_advice("write less"):
            raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), health_checks.memory_advice("write less"):
        raise RuntimeError("shapes do not fit")
