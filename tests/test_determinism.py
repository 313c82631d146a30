"""A run is a function of its seed: same seed, same numbers; and it leaves global streams alone."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from transformers import GPT2Config

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.callbacks import Callback
from agents.policy.causal_lm import CausalLMPolicy
from text_gym import TextGenEnv

Outcome = tuple[list[torch.Tensor], list[dict[str, float]]]


class Log(Callback):
    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        finite = {k: v for k, v in metrics.items() if not k.startswith("time/") and v == v}
        self.metrics.append(finite)
        return True


PROMPTS = ["How are you?", "You?", "Are you good?"]


def native() -> VectorEnv[Any, Any, Any]:
    return gym.make_vec(
        "TextGen-v0", num_envs=4, autoreset_mode="Disabled", prompts=PROMPTS, max_new_tokens=8
    )


def foreign() -> VectorEnv[Any, Any, Any]:
    return SyncVectorEnv(
        [lambda: TextGenEnv(prompts=PROMPTS, max_new_tokens=8)] * 4,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )


def run(
    envs: VectorEnv[Any, Any, Any], seed: int = 0, n_updates: int = 3, policy_seed: int = 0
) -> Outcome:
    assert isinstance(envs.single_action_space, gym.spaces.Discrete)
    vocab_size = int(envs.single_action_space.n)
    config = GPT2Config(vocab_size=vocab_size, n_embd=16, n_layer=1, n_head=2, n_positions=12)
    config.bos_token_id = config.eos_token_id = 0
    log = Log()
    agent = PPO(
        CausalLMPolicy.from_config(config, seed=policy_seed),
        envs,
        PPOConfig(n_episodes=10, batch_size=4, n_epochs=2, learning_rate=1e-3, seed=seed),
        callbacks=[log],
    )
    agent.learn(10 * n_updates)
    return [parameter.detach() for parameter in agent.policy.parameters()], log.metrics


def assert_equal(one: Outcome, other: Outcome) -> None:
    assert all(map(torch.equal, one[0], other[0]))
    assert one[1] == other[1]


@pytest.mark.parametrize("envs", [native, foreign])
def test_same_seed_same_run(envs: Any) -> None:
    one = run(envs())
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - must not matter
    torch.manual_seed(1)
    other = run(envs())
    assert len(one[1]) == 3
    assert_equal(one, other)


def test_native_and_foreign_environments_give_the_same_first_update() -> None:
    """Later ones differ: rows that must not idle draw prompts for episodes nobody wants."""
    assert_equal(run(native(), n_updates=1), run(foreign(), n_updates=1))


def test_an_environment_that_was_used_before_makes_no_difference() -> None:
    used = native()
    used.reset(seed=77)
    used.step(np.zeros(4, dtype=np.int64))
    assert_equal(run(used), run(native()))


@pytest.mark.parametrize("changes", [{"seed": 1}, {"policy_seed": 1}])
def test_other_seed_other_run(changes: dict[str, int]) -> None:
    one, other = run(native()), run(native(), **changes)
    assert not any(map(torch.equal, one[0], other[0]))
    assert one[1][0]["rollout/entropy"] != other[1][0]["rollout/entropy"]


def test_the_seed_reaches_sampling_and_shuffling() -> None:
    config = GPT2Config(vocab_size=34, n_embd=8, n_layer=1, n_head=1, n_positions=12)
    envs = native()
    assert isinstance(envs.single_action_space, gym.spaces.Discrete)
    config.vocab_size = int(envs.single_action_space.n)
    config.bos_token_id = config.eos_token_id = 0
    policy = CausalLMPolicy.from_config(config)
    agents = [PPO(policy, envs, PPOConfig(seed=seed)) for seed in (0, 0, 1)]
    draws = [
        [torch.rand(4, generator=stream).tolist() for stream in (agent.sampling, agent.shuffling)]
        for agent in agents
    ]
    assert draws[0] == draws[1]
    assert len({str(draw) for pair in draws[1:] for draw in pair}) == 4


def test_global_random_states_stay_as_they_are() -> None:
    before = random.getstate(), torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002 - the state under test
    run(native(), n_updates=1)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
