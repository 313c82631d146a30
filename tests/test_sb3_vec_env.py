"""Stable-Baselines3 on a Gymnasium vector: what `DummyVecEnv` gives, from one environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers import vector as gymnasium_vector
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from agents.sb3_baseline.gymnasium_vec_env import GymnasiumVecEnv
from text_gym import CharTokenizer, Episode, TextGenEnv, TextGenVectorEnv
from text_gym.wrappers import PaddedTokens
from text_gym.wrappers import vector as vector_wrappers

A, B, C, DOT, EOS = range(5)
DISABLED = AutoresetMode.DISABLED


def letters(prompt: str, completion: str) -> float:
    return float(len(completion))


def only_b() -> CharTokenizer:
    """A vocabulary in which nothing but "b" and EOS should be written."""
    tokenizer = CharTokenizer("abc.")
    tokenizer.excluded_token_ids = frozenset({A, C, DOT})
    return tokenizer


def task_of(**arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["ab", "c", "abca"],
        "tokenizer": CharTokenizer("abc."),
        "reward_function": letters,
        "max_new_tokens": 3,
    }
    return {**defaults, **arguments}


def single(**arguments: Any) -> TextGenEnv:
    return TextGenEnv(**task_of(**arguments))


def native(num_envs: int = 3, **arguments: Any) -> TextGenVectorEnv:
    own = {key: arguments.pop(key) for key in ("copy", "render_mode") if key in arguments}
    return TextGenVectorEnv(num_envs, autoreset_mode=DISABLED, **own, **task_of(**arguments))


def padded() -> Any:
    return PaddedTokens(single())


def cut_short() -> Any:
    """Ends terminated and truncated at once if the text fills its limit."""
    return TimeLimit(single(), 3)


def plain(value: Any) -> Any:
    """Turns what steps return into what can be compared, numbers and texts by their value."""
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Episode):
        ids = (value.prompt_ids, value.completion_ids)
        return [value.prompt, value.completion, value.reference, value.stop_reason, *ids]
    return value.item() if isinstance(value, np.generic) else value


def assert_equal(actual: Any, expected: Any) -> None:
    assert data_equivalence(plain(actual), plain(expected), exact=True), f"{actual} != {expected}"


PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "native": (single, native),
    "without copies": (single, partial(native, copy=False)),
    "limit truncates": (
        partial(single, limit="truncate"),
        partial(native, limit="truncate"),
    ),
    "masked vocabulary": (
        partial(single, tokenizer=only_b()),
        partial(native, tokenizer=only_b()),
    ),
    "array observations": (padded, lambda: vector_wrappers.PaddedTokens(native())),
    "both flags": (cut_short, lambda: SyncVectorEnv([cut_short] * 3, autoreset_mode=DISABLED)),
}


@pytest.mark.parametrize(("make_env", "make_envs"), PAIRS.values(), ids=PAIRS)
def test_every_step_equals_dummy_vec_env(
    make_env: Callable[[], Any], make_envs: Callable[[], Any]
) -> None:
    dummy, adapted = DummyVecEnv([make_env] * 3), GymnasiumVecEnv(make_envs())
    assert adapted.observation_space == dummy.observation_space
    assert adapted.action_space == dummy.action_space
    ended = 0
    for seed in (3, 11):
        assert adapted.seed(seed) == dummy.seed(seed)
        assert_equal(adapted.reset(), dummy.reset())
        for actions in np.random.default_rng(seed).integers(5, size=(60, 3)):
            assert_equal(adapted.reset_infos, dummy.reset_infos)
            results = adapted.step(actions)
            assert_equal(results, dummy.step(actions))
            ended += results[2].sum()
    assert ended > 100


def test_a_finished_row_shows_its_end_in_the_info_and_its_new_start_in_the_observation() -> None:
    venv = GymnasiumVecEnv(native(2, prompts=["c"]))
    venv.reset()
    venv.step(np.array([A, A]))
    observation, rewards, dones, infos = venv.step(np.array([B, EOS]))
    assert isinstance(observation, dict)
    assert observation["input_ids"].tolist() == [[C, A, B, 0], [C, 0, 0, 0]]
    assert (rewards.tolist(), rewards.dtype, dones.tolist()) == ([0, 1], np.float32, [False, True])
    assert infos[0] == {"TimeLimit.truncated": False}
    assert infos[1]["terminal_observation"]["input_ids"].tolist() == [C, A, EOS, 0]
    assert infos[1]["terminal_observation"]["attention_mask"].tolist() == [1, 1, 1, 0]
    assert infos[1]["text_episode"].completion == "a"
    assert infos[1]["stop_reason"] == "eos"
    assert venv.reset_infos[1]["prompt_length"] == 1
    assert "stop_reason" not in venv.reset_infos[1]


def test_only_a_truncated_text_is_marked_for_bootstrapping() -> None:
    for limit, truncated in (("terminate", False), ("truncate", True)):
        venv = GymnasiumVecEnv(native(1, limit=limit, max_new_tokens=1))
        venv.reset()
        _, rewards, dones, infos = venv.step(np.array([A]))
        assert infos[0]["TimeLimit.truncated"] is truncated
        assert (rewards.tolist(), dones.tolist()) == ([float(not truncated)], [True])


def trained_parameters(venv: Any, seed: int = 3) -> torch.Tensor:
    model = PPO("MultiInputPolicy", venv, n_steps=32, batch_size=32, seed=seed, device="cpu")
    model.learn(192)
    return torch.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])


def test_ppo_learns_the_same_parameters_bit_for_bit() -> None:
    expected = trained_parameters(DummyVecEnv([single] * 3))
    assert torch.equal(trained_parameters(GymnasiumVecEnv(native())), expected)
    assert torch.equal(trained_parameters(GymnasiumVecEnv(native(copy=False))), expected)
    assert not torch.equal(trained_parameters(GymnasiumVecEnv(native()), seed=4), expected)


def test_observations_that_a_learner_keeps_do_not_change() -> None:
    venv = GymnasiumVecEnv(native(1, copy=False, prompts=["c"]))
    kept: list[Any] = [venv.reset()]
    _, _, _, infos = venv.step(np.array([EOS]))
    kept.append(infos[0]["terminal_observation"])
    venv.step(np.array([B]))
    assert [one["input_ids"].ravel().tolist() for one in kept] == [[C, 0, 0, 0], [C, EOS, 0, 0]]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_other_autoreset_modes_are_refused_by_name(mode: AutoresetMode) -> None:
    with pytest.raises(ValueError, match=f"must have autoreset_mode 'Disabled', .*got {mode}"):
        GymnasiumVecEnv(TextGenVectorEnv(2, autoreset_mode=mode))


# Seeds and options


def test_a_seed_counts_once_and_the_stream_then_goes_on() -> None:
    venv = GymnasiumVecEnv(native(3))

    def starts() -> Any:
        observation: Any = venv.reset()
        return observation["input_ids"].tolist()

    venv.seed(5)
    first = [starts() for _ in range(6)]
    venv.seed(5)
    assert [starts() for _ in range(6)] == first
    assert any(one != first[0] for one in first)


def test_options_reach_every_row_once() -> None:
    venv = GymnasiumVecEnv(native(3, prompts=["ab", "abca"]))
    venv.set_options({"prompt": "c"})
    venv.reset()
    assert [info["prompt_length"] for info in venv.reset_infos] == [1, 1, 1]
    venv.reset()
    assert 1 not in [info["prompt_length"] for info in venv.reset_infos]
    venv.set_options({"prompt": ["ab", "c", "abca"]})  # the native vector takes a list
    venv.reset()
    assert [info["prompt_length"] for info in venv.reset_infos] == [2, 1, 4]


def test_different_options_are_refused() -> None:
    venv = GymnasiumVecEnv(native(2))
    venv.set_options([{"prompt": "c"}, {"prompt": "ab"}])
    with pytest.raises(ValueError, match=r"options must be the same for all rows, got .*'ab'"):
        venv.reset()


# Action masks


def masks_of(venv: Any) -> Any:
    assert is_masking_supported(venv)
    masks = get_action_masks(venv)
    assert masks.dtype == np.bool_
    return masks.astype(int).tolist()


def test_masks_of_the_vocabulary_reach_sb3() -> None:
    for make_envs in (native, lambda **task: SyncVectorEnv([partial(single, **task)] * 3)):
        envs: Any = make_envs(tokenizer=only_b())
        envs.metadata["autoreset_mode"] = DISABLED
        assert masks_of(GymnasiumVecEnv(envs)) == [[0, 1, 0, 0, 1]] * 3
    assert masks_of(GymnasiumVecEnv(native())) == [[1] * 5] * 3


class NoEnding(gymnasium_vector.TransformReward):
    """A vector wrapper whose rows may not end."""

    def action_masks(self) -> Any:
        masks = np.ones((self.num_envs, 5), dtype=np.bool_)
        masks[0, EOS] = False
        return masks


def test_the_outermost_wrapper_with_masks_is_asked() -> None:
    envs = gymnasium_vector.RecordEpisodeStatistics(NoEnding(native(2), lambda reward: reward))
    venv = GymnasiumVecEnv(envs)
    assert masks_of(venv) == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert [mask[EOS] for mask in venv.env_method("action_masks", indices=[1])] == [True]


# Attributes and methods


def test_attributes_are_those_of_the_vector_and_of_one_row() -> None:
    venv = GymnasiumVecEnv(native(2, render_mode="ansi"))
    assert venv.get_attr("render_mode") == ["ansi", "ansi"]
    assert venv.get_attr("action_space", indices=0) == [venv.action_space]
    assert venv.get_attr("observation_space", indices=[1, 0]) == [venv.observation_space] * 2
    assert [one.vocab_size for one in venv.get_attr("tokenizer")] == [5, 5]
    assert (venv.has_attr("tokenizer"), venv.has_attr("compute_reward")) == (True, False)
    with pytest.raises(AttributeError, match="has 'compute_reward'"):
        venv.env_method("compute_reward")


def test_an_attribute_is_set_for_all_rows_or_not_at_all() -> None:
    envs = native(2)
    venv = GymnasiumVecEnv(gymnasium_vector.TransformReward(envs, lambda reward: reward))
    venv.set_attr("reward_skipped", True)
    assert envs.reward_skipped is True
    with pytest.raises(ValueError, match=r"indices must name all rows, .* got 1"):
        venv.set_attr("reward_skipped", False, indices=1)


def test_a_method_that_gives_no_value_per_row_is_refused() -> None:
    envs = native(2)
    venv = GymnasiumVecEnv(envs)
    envs.count = lambda: 7  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="count must return one value for each of 2 rows, got 7"):
        venv.env_method("count")


def test_rows_with_environments_of_their_own_are_reached() -> None:
    venv = GymnasiumVecEnv(SyncVectorEnv([single, single], autoreset_mode=DISABLED))
    assert [one.max_new_tokens for one in venv.get_attr("task", indices=[1])] == [3]
    venv.set_attr("reward_skipped", True)
    assert venv.get_attr("reward_skipped") == [True, True]


@pytest.mark.slow
def test_rows_in_other_processes_are_reached() -> None:
    envs = AsyncVectorEnv(
        [lambda: TextGenEnv(max_new_tokens=2)] * 2, autoreset_mode=DISABLED, context="spawn"
    )
    venv = GymnasiumVecEnv(envs)
    try:
        venv.seed(0)
        venv.reset()
        assert [mask.shape for mask in venv.env_method("action_masks")] == [(33,), (33,)]
        venv.step(np.array([1, 1]))
        _, rewards, dones, infos = venv.step(np.array([2, 32]))
        assert (rewards.tolist(), dones.tolist()) == ([2, 1], [True, True])
        assert [info["stop_reason"] for info in infos] == ["length", "eos"]
    finally:
        venv.close()


def test_wrappers_around_the_vector_are_found() -> None:
    venv = GymnasiumVecEnv(NoEnding(native(2), lambda reward: reward))
    assert venv.env_is_wrapped(NoEnding) == [True, True]  # type: ignore[arg-type]
    assert venv.env_is_wrapped(Monitor, indices=0) == [False]


# Episode statistics


@pytest.mark.skipif(
    gym.__version__.startswith("1.2."),
    reason="DictInfoToList of Gymnasium 1.2 cannot read what RecordEpisodeStatistics reports",
)
def test_returns_are_logged_from_inside_and_from_outside_alike() -> None:
    inside = GymnasiumVecEnv(gymnasium_vector.RecordEpisodeStatistics(native(2)))
    outside = VecMonitor(GymnasiumVecEnv(native(2)))
    seen = []
    for venv in (inside, outside):
        venv.reset()
        venv.step(np.array([A, EOS]))
        venv.step(np.array([B, A]))
        infos = venv.step(np.array([A, EOS]))[-1]
        seen.append([(info["episode"]["r"], info["episode"]["l"]) for info in infos])
    assert seen == [[(3.0, 3), (1.0, 2)]] * 2
    model = PPO("MultiInputPolicy", inside, n_steps=16, batch_size=32, device="cpu").learn(32)
    assert len(model.ep_info_buffer or ()) > 0


def test_sb3_evaluates_on_it() -> None:
    venv = VecMonitor(GymnasiumVecEnv(native(2, max_new_tokens=1, prompts=["c"])))
    model = PPO("MultiInputPolicy", venv, n_steps=8, batch_size=16, seed=0, device="cpu")
    mean, spread = evaluate_policy(model, venv, n_eval_episodes=6, deterministic=True)
    letter = int(model.predict(venv.reset(), deterministic=True)[0][0]) != EOS
    assert (mean, spread) == (float(letter), 0.0)


# Rendering


def test_pictures_need_their_render_mode() -> None:
    with pytest.warns(UserWarning, match="render_mode is ansi, not 'rgb_array'"):
        assert GymnasiumVecEnv(native(2, render_mode="ansi")).get_images() == [None, None]


def test_a_person_sees_texts_as_they_end(capsys: pytest.CaptureFixture[str]) -> None:
    venv = GymnasiumVecEnv(native(1, render_mode="human", max_new_tokens=1))
    venv.reset()
    venv.step(np.array([B]))
    venv.render()
    assert capsys.readouterr().out.count("completion") == 1


@pytest.mark.skipif(
    "rgb_array" not in TextGenVectorEnv.metadata["render_modes"], reason="no pictures to show"
)
def test_pictures_are_tiled() -> None:
    venv = GymnasiumVecEnv(native(2, render_mode="rgb_array"))
    venv.reset()
    one, other = venv.get_images()
    assert one is not None
    assert other is not None
    tiled = venv.render()
    assert tiled is not None
    assert tiled.size == one.size * 2
    assert gym.spaces.Box(0, 255, tiled.shape, np.uint8).contains(tiled)


def test_no_learner_leaves_a_folder_among_the_temporary_files() -> None:
    assert configure(None, [""]).get_dir() == os.environ["SB3_LOGDIR"]
