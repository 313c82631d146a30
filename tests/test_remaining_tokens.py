"""The number of tokens left, which the observation alone does not tell."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import Autoreset

from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv
from text_gym.checks.returned_data import frozen as plain
from text_gym.rewards import WordCount
from text_gym.wrappers import Feedback, RemainingTokens
from text_gym.wrappers import vector as vector_wrappers

EOS = 4
TASK: dict[str, Any] = {
    "prompts": ["ab", "c", "abca"],
    "tokenizer": CharTokenizer("abc."),
    "reward_function": lambda prompt, completion: float(len(completion)),
    "max_new_tokens": 3,
}


def test_the_budget_counts_down_from_the_limit_whatever_the_prompt() -> None:
    env = RemainingTokens(TextGenEnv(**TASK))
    for prompt in ("ab", "c", "abca"):
        observation, _ = env.reset(seed=0, options={"prompt": prompt})
        observations = [observation, *(env.step(0)[0] for _ in range(3))]
        left = [observation["remaining_tokens"] for observation in observations]
        assert [value.tolist() for value in left] == [[3], [2], [1], [0]]
        assert all(value.dtype == np.int64 for value in left)
        assert all(observation in env.observation_space for observation in observations)


def test_the_rest_of_the_observation_is_untouched() -> None:
    plain, wrapped = TextGenEnv(**TASK), RemainingTokens(TextGenEnv(**TASK))
    assert wrapped.observation_space.keys() == {*plain.observation_space.keys(), "remaining_tokens"}
    expected, returned = plain.reset(seed=1), wrapped.reset(seed=1)
    for action in (0, 1, EOS):
        assert returned[0].pop("remaining_tokens").shape == (1,)
        assert data_equivalence(returned, expected, exact=True)
        expected, returned = plain.step(action), wrapped.step(action)


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_gymnasium_finds_no_fault() -> None:
    check_env(RemainingTokens(gym.make("TextGen-v0", prompts=["how", "how are you"]).unwrapped))


def test_it_goes_under_and_over_feedback() -> None:
    for env in (
        Feedback(RemainingTokens(TextGenEnv(**TASK)), WordCount()),
        RemainingTokens(Feedback(gym.make("TextGen-v0", **TASK), WordCount())),
    ):
        env.reset(seed=0)
        observation, reward, *_ = env.step(EOS)
        assert (observation["remaining_tokens"].tolist(), reward) == ([2], 0.0)


def test_it_follows_an_environment_that_resets_itself() -> None:
    env = RemainingTokens(Autoreset(TextGenEnv(**TASK)))
    observations = [env.reset(seed=0)[0], *(env.step(0)[0] for _ in range(8))]
    left = [observation["remaining_tokens"].item() for observation in observations]
    assert left == [3, 2, 1, 0, 3, 2, 1, 0, 3]


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_both_versions_observe_the_same(mode: AutoresetMode) -> None:
    native = vector_wrappers.RemainingTokens(TextGenVectorEnv(3, autoreset_mode=mode, **TASK))
    fns = [lambda: RemainingTokens(TextGenEnv(**TASK))] * 3
    sync = SyncVectorEnv(fns, autoreset_mode=mode)
    assert native.observation_space == sync.observation_space
    assert native.single_observation_space == sync.single_observation_space
    assert data_equivalence(plain(native.reset(seed=2)), plain(sync.reset(seed=2)), exact=True)
    rng = np.random.default_rng(0)
    for actions in rng.integers(5, size=(60, 3)):
        results = native.step(actions)
        assert data_equivalence(plain(results), plain(sync.step(actions)), exact=True)
        assert results[0] in native.observation_space
        ended = results[2] | results[3]
        if mode is AutoresetMode.DISABLED and ended.any():
            reset = [e.reset(options={"reset_mask": ended.copy()}) for e in (native, sync)]
            assert data_equivalence(*map(plain, reset), exact=True)


def test_an_idle_row_keeps_its_budget() -> None:
    envs = vector_wrappers.RemainingTokens(TextGenVectorEnv(2, autoreset_mode="Disabled", **TASK))
    envs.reset(seed=0)
    left = [envs.step([EOS, 0])[0]["remaining_tokens"].ravel().tolist() for _ in range(3)]
    assert left == [[2, 2], [2, 1], [2, 0]]


def test_vector_wrapper_works_around_gymnasiums_own_vectors() -> None:
    sync = gym.make_vec("TextGen-v0", num_envs=2, vectorization_mode="sync")
    observations, _ = vector_wrappers.RemainingTokens(sync).reset(seed=0)
    assert observations["remaining_tokens"].tolist() == [[20], [20]]


def test_an_environment_of_another_kind_is_refused() -> None:
    message = "env must be a TextGenEnv or a TextGenVectorEnv, in whatever wrappers, got .*CartPole"
    with pytest.raises(TypeError, match=message):
        RemainingTokens(gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match=message):
        vector_wrappers.RemainingTokens(gym.make_vec("CartPole-v1", num_envs=2))
