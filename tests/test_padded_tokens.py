"""Ids and mask as one array of symbols."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FlattenObservation
from hypothesis import given
from hypothesis import strategies as st

from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv
from text_gym.checks.returned_data import frozen as plain
from text_gym.wrappers import PaddedTokens, RemainingTokens
from text_gym.wrappers import vector as vector_wrappers

A, B, C, DOT, EOS, PADDING = range(6)
TASK: dict[str, Any] = {
    "prompts": ["ab", "c", "abca"],
    "tokenizer": CharTokenizer("abc."),
    "reward_function": lambda prompt, completion: float(len(completion)),
    "max_new_tokens": 3,
}


def test_positions_past_the_end_hold_a_symbol_that_is_no_token() -> None:
    env = PaddedTokens(TextGenEnv(**TASK))
    observation, _ = env.reset(options={"prompt": "ab"})
    assert isinstance(observation, np.ndarray)
    assert observation.tolist() == [A, B, *[PADDING] * 5]
    assert observation.dtype == np.int64
    # Id 0 is a token like any other, though padding in `input_ids` is 0 as well.
    for action, expected in ((A, [A, B, A]), (EOS, [A, B, A, EOS])):
        observation = env.step(action)[0]
        assert np.asarray(observation).tolist() == expected + [PADDING] * (7 - len(expected))


def test_the_space_gives_every_position_one_category_more_than_there_are_tokens() -> None:
    space = PaddedTokens(TextGenEnv(**TASK)).observation_space
    assert space == spaces.MultiDiscrete([6] * 7)


@given(st.lists(st.integers(0, EOS), min_size=1, max_size=3), st.sampled_from(["ab", "c", "abca"]))
def test_symbols_say_what_ids_and_mask_say(actions: list[int], prompt: str) -> None:
    plain, wrapped = TextGenEnv(**TASK), PaddedTokens(TextGenEnv(**TASK))
    expected, _ = plain.reset(options={"prompt": prompt})
    symbols: Any = wrapped.reset(options={"prompt": prompt})[0]
    for action in [*actions, None]:
        assert symbols in wrapped.observation_space
        mask = symbols != PADDING
        assert np.array_equal(mask, expected["attention_mask"])
        assert np.array_equal(np.where(mask, symbols, 0), expected["input_ids"])
        if action is None or symbols[expected["attention_mask"].sum() - 1] == EOS:
            break
        expected, symbols = plain.step(action)[0], wrapped.step(action)[0]


def test_flattening_gives_one_hots() -> None:
    env = FlattenObservation(PaddedTokens(TextGenEnv(**TASK)))
    observation, _ = env.reset(options={"prompt": "c"})
    assert np.array_equal(observation.reshape(7, 6), np.eye(6)[[C, *[PADDING] * 6]])


def test_the_rest_of_the_observation_stays_beside_the_tokens() -> None:
    env = PaddedTokens(RemainingTokens(TextGenEnv(**TASK)))
    assert isinstance(env.observation_space, spaces.Dict)
    assert list(env.observation_space) == ["remaining_tokens", "tokens"]
    observation: Any = env.reset(options={"prompt": "c"})[0]
    assert observation in env.observation_space
    assert observation["tokens"].tolist() == [C, *[PADDING] * 6]
    assert observation["remaining_tokens"].tolist() == [3]


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_gymnasium_finds_no_fault() -> None:
    check_env(PaddedTokens(gym.make("TextGen-v0").unwrapped))


def test_its_spec_makes_it_again() -> None:
    env = PaddedTokens(gym.make("TextGen-v0", max_new_tokens=4))
    assert env.spec is not None
    again = gym.make(pickle.loads(pickle.dumps(env.spec)))
    assert again.observation_space == env.observation_space
    assert data_equivalence(again.reset(seed=0), env.reset(seed=0), exact=True)


@pytest.mark.parametrize("with_budget", [False, True], ids=["text", "text and budget"])
@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_both_versions_observe_the_same(mode: AutoresetMode, with_budget: bool) -> None:
    envs: Any = TextGenVectorEnv(3, autoreset_mode=mode, **TASK)
    if with_budget:
        envs = vector_wrappers.RemainingTokens(envs)
    native = vector_wrappers.PaddedTokens(envs)

    def make() -> Any:
        env: Any = TextGenEnv(**TASK)
        return PaddedTokens(RemainingTokens(env) if with_budget else env)

    sync = SyncVectorEnv([make] * 3, autoreset_mode=mode)
    assert native.observation_space == sync.observation_space
    assert native.single_observation_space == sync.single_observation_space
    assert data_equivalence(plain(native.reset(seed=2)), plain(sync.reset(seed=2)), exact=True)
    for actions in np.random.default_rng(0).integers(5, size=(60, 3)):
        results = native.step(actions)
        assert data_equivalence(plain(results), plain(sync.step(actions)), exact=True)
        assert results[0] in native.observation_space
        ended = results[2] | results[3]
        if mode is AutoresetMode.DISABLED and ended.any():
            reset = [e.reset(options={"reset_mask": ended.copy()}) for e in (native, sync)]
            assert data_equivalence(*map(plain, reset), exact=True)


def test_an_environment_without_texts_is_refused() -> None:
    message = "env must observe a Dict with input_ids and attention_mask, .* got Box"
    with pytest.raises(ValueError, match=message):
        PaddedTokens(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match=message):
        vector_wrappers.PaddedTokens(gym.make_vec("CartPole-v1", num_envs=2))
