"""Gymnasium's own wrappers around the environment and around the vector, with exact numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import (
    Autoreset,
    ClipReward,
    DelayObservation,
    FilterObservation,
    FlattenObservation,
    FrameStackObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
    RecordVideo,
    RenderCollection,
    StickyAction,
    TimeAwareObservation,
    TimeLimit,
    TransformAction,
    TransformObservation,
    TransformReward,
)
from gymnasium.wrappers import vector as gymnasium_vector

import text_gym
from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv
from text_gym.checks.returned_data import frozen as plain
from text_gym.wrappers import PaddedTokens
from text_gym.wrappers import vector as vector_wrappers

A, B, C, DOT, EOS = range(5)
NEXT_STEP, SAME_STEP, DISABLED = (
    AutoresetMode.NEXT_STEP,
    AutoresetMode.SAME_STEP,
    AutoresetMode.DISABLED,
)
since_1_4 = pytest.mark.skipif(
    gym.__version__.startswith(("1.2.", "1.3.")), reason="of Gymnasium 1.4, ours need 1.2"
)
SHOWS_PICTURES = "rgb_array" in TextGenEnv.metadata["render_modes"]


def task_of(**arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["ab", "c", "abca"],
        "tokenizer": CharTokenizer("abc."),
        "reward_function": lambda prompt, completion: float(len(completion)),
        "max_new_tokens": 3,
    }
    return {**defaults, **arguments}


def made(**arguments: Any) -> gym.Env[Any, Any]:
    """Makes the environment as users do, inside the wrappers that `gym.make` puts around it."""
    return gym.make("TextGen-v0", **task_of(**arguments))


def vector(mode: AutoresetMode = NEXT_STEP, num_envs: int = 2, **arguments: Any) -> Any:
    task = task_of(**arguments)
    return gym.make_vec("TextGen-v0", num_envs=num_envs, autoreset_mode=mode, **task)


def write(env: Any, *actions: int, prompt: str = "c") -> list[tuple[Any, ...]]:
    env.reset(seed=0, options={"prompt": prompt})
    return [env.step(action) for action in actions]


# One environment: rewards and endings


def test_statistics_are_of_the_paid_text() -> None:
    env = RecordEpisodeStatistics(made())
    *_, last = write(env, A, B, EOS)
    assert (last[4]["episode"]["r"], last[4]["episode"]["l"]) == (2.0, 3)
    assert last[4]["text_episode"].completion == "ab"
    write(env, EOS)
    assert (list(env.return_queue), list(env.length_queue)) == ([2.0, 0.0], [3, 1])


def test_a_time_limit_truncates_and_pays_nothing() -> None:
    env = TimeLimit(made(), 2)
    _, cut = write(env, A, B)
    assert cut[1:4] == (0.0, False, True)
    assert "text_episode" not in cut[4]
    _, ended = write(env, A, EOS)
    assert ended[1] == 1.0
    assert ended[2] is True
    *_, both = write(TimeLimit(made(), 3), A, B, C)
    assert both[1:4] == (3.0, True, True)
    assert gym.make("TextGen-v0", max_episode_steps=1).spec.max_episode_steps == 1


@pytest.mark.parametrize("limit", ["terminate", "truncate"])
def test_the_limit_of_the_task_can_be_a_time_limit(limit: Any) -> None:
    """Cutting a longer text after three steps is what `limit="truncate"` means."""
    outside, inside = TimeLimit(made(max_new_tokens=9), 3), made(limit=limit)
    for actions in ([A, B, C], [A, EOS]):
        (*_, cut), (*_, own) = write(outside, *actions), write(inside, *actions)
        same = cut[1:4] == own[1:4]
        assert same is (limit == "truncate" or EOS in actions)


def test_rewards_can_be_transformed_and_clipped() -> None:
    env = ClipReward(TransformReward(made(), lambda reward: 10 * reward - 1), -0.5, 15)
    assert [step[1] for step in write(env, A, B, EOS)] == [-0.5, -0.5, 15]
    assert [step[1] for step in write(env, A, EOS)] == [-0.5, 9]


def test_rewards_are_normalised_by_the_spread_of_returns() -> None:
    env = NormalizeReward(made(), gamma=1.0, epsilon=1e-8)
    # The running moments start from one pseudo-count of 1e-4 at mean 0 and variance 1.
    count, mean, variance = 1e-4, 0.0, 1.0
    for step in write(env, A, B, EOS):
        value = float(step[4]["text_episode"].completion_ids.size - 1) if step[2] else 0.0
        delta, total = value - mean, count + 1
        variance = (variance * count + delta**2 * count / total) / total
        mean, count = mean + delta / total, total
        assert step[1] == pytest.approx(value / np.sqrt(variance + 1e-8))
    assert step[1] > 2


def test_autoreset_starts_the_next_text_on_the_step_after_the_end() -> None:
    env = Autoreset(made())
    *_, ended, fresh = write(env, A, EOS, B)
    assert (ended[1], ended[2], "prompt_length" in ended[4]) == (1.0, True, False)
    assert (fresh[1], fresh[2]) == (0.0, False)
    assert fresh[0]["attention_mask"].sum() == fresh[4]["prompt_length"]


# One environment: observations and actions


def test_flattened_observations_are_mask_and_ids() -> None:
    env = FlattenObservation(made())
    observation, _ = env.reset(seed=0, options={"prompt": "ab"})
    assert isinstance(env.observation_space, spaces.Box)
    assert env.observation_space.contains(observation)
    assert sorted(observation.tolist()) == sorted([1, 1, *[0] * 5, A, B, *[0] * 5])


def test_observations_can_be_filtered_transformed_stacked_and_delayed() -> None:
    filtered = FilterObservation(made(), ["input_ids"])
    assert filtered.reset(seed=0)[0].keys() == {"input_ids"}

    length = spaces.Box(0, 7, (), np.int64)
    counted = TransformObservation(made(), lambda one: one["attention_mask"].sum(), length)
    assert [step[0] for step in write(counted, A, B)] == [2, 3]

    stacked = FrameStackObservation(PaddedTokens(made()), 2)
    *_, step = write(stacked, A, B)
    assert step[0].tolist() == [[C, A, *[5] * 5], [C, A, B, *[5] * 4]]

    delayed = DelayObservation(PaddedTokens(made()), 1)
    assert [step[0].tolist()[:3] for step in write(delayed, A, B)] == [[C, 5, 5], [C, A, 5]]

    aware = TimeAwareObservation(TimeLimit(made(), 3), flatten=False)
    assert [step[0]["time"].item() for step in write(aware, A, B)] == [1, 2]


def test_actions_can_be_transformed() -> None:
    shifted = TransformAction(made(), lambda action: (action + 1) % 5, spaces.Discrete(5))
    *_, last = write(shifted, A, DOT)
    assert last[4]["text_episode"].completion == "b"


@since_1_4
def test_a_repeated_letter_stops_with_the_text() -> None:
    (step,) = write(gym.wrappers.RepeatAction(made(), 5), B)
    assert step[4]["text_episode"].completion == "bbb"


def test_a_sticky_action_draws_from_the_stream_of_the_prompts() -> None:
    """Gymnasium's wrapper shares `np_random`, so it changes which prompts follow a seed."""

    def prompts(env: Any) -> list[int]:
        lengths = [env.reset(seed=0)[1]["prompt_length"]]
        for _ in range(12):
            env.step(A)
            env.step(B)  # or what it sticks to
            lengths.append(env.reset()[1]["prompt_length"])
        return lengths

    assert prompts(made()) == prompts(TransformAction(made(), lambda action: action, None))
    assert prompts(made()) != prompts(StickyAction(made(), 0.5))


# One environment: rendering


def test_texts_are_collected_frame_by_frame() -> None:
    env = gym.make("TextGen-v0", render_mode="ansi_list", **task_of())
    assert isinstance(env, RenderCollection)
    write(env, A, B)
    frames: Any = env.render()
    assert [frame.count("a") - frames[0].count("a") for frame in frames] == [0, 1, 1]


@pytest.mark.skipif(not SHOWS_PICTURES, reason="no pictures to film")
def test_a_text_is_filmed(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    env = RecordVideo(made(render_mode="rgb_array"), str(tmp_path / "films"), lambda episode: True)
    write(env, A, B, EOS)
    env.close()
    (film,) = (tmp_path / "films").glob("*.mp4")
    assert film.stat().st_size > 0


# Vectors


def test_made_vectors_of_every_kind_agree() -> None:
    kinds = {"native": vector()}
    task = task_of()
    for mode in ("sync", "vector_entry_point"):
        kinds[mode] = gym.make_vec("TextGen-v0", num_envs=2, vectorization_mode=mode, **task)
    assert isinstance(kinds["native"].unwrapped, TextGenVectorEnv)
    assert isinstance(kinds["sync"].unwrapped, SyncVectorEnv)
    first = [envs.reset(seed=4) for envs in kinds.values()]
    assert all(data_equivalence(plain(one), plain(first[0]), exact=True) for one in first)
    for actions in np.random.default_rng(0).integers(5, size=(40, 2)):
        steps = [envs.step(actions) for envs in kinds.values()]
        assert all(data_equivalence(plain(one), plain(steps[0]), exact=True) for one in steps)


@pytest.mark.slow
def test_a_made_vector_of_processes_agrees() -> None:
    spawned = {"context": "spawn"}
    asynchronous = gym.make_vec("TextGen-v0", 2, "async", vector_kwargs=spawned, max_new_tokens=3)
    native = gym.make_vec("TextGen-v0", 2, max_new_tokens=3)
    try:
        assert data_equivalence(
            plain(asynchronous.reset(seed=4)), plain(native.reset(seed=4)), exact=True
        )
        for actions in np.random.default_rng(0).integers(33, size=(12, 2)):
            assert data_equivalence(asynchronous.step(actions)[:4], native.step(actions)[:4])
    finally:
        asynchronous.close()


@since_1_4
@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_vector_statistics_are_of_the_paid_texts(mode: AutoresetMode) -> None:
    envs = gymnasium_vector.RecordEpisodeStatistics(vector(mode))
    envs.reset(seed=0)
    seen = []
    for actions in ([A, EOS], [B, A], [EOS, B], [A, EOS]):
        _, _, terminations, truncations, infos = envs.step(np.array(actions))
        ended = terminations | truncations
        for row in np.flatnonzero(ended).tolist():
            assert infos["_episode"][row]
            seen.append((row, infos["episode"]["r"][row], infos["episode"]["l"][row]))
        if mode is DISABLED and ended.any():
            envs.reset(options={"reset_mask": ended})
    # Under NEXT_STEP the step after the end resets, and its action does not count.
    second = (1, 1.0, 2) if mode is NEXT_STEP else (1, 2.0, 3)
    assert seen == [(1, 0.0, 1), (0, 2.0, 3), second]


def test_statistics_survive_a_reset_of_other_rows() -> None:
    envs = gymnasium_vector.RecordEpisodeStatistics(vector(DISABLED))
    envs.reset(seed=0)
    envs.step(np.array([A, EOS]))
    envs.reset(options={"reset_mask": np.array([False, True])})
    infos = envs.step(np.array([EOS, A]))[-1]
    assert (infos["episode"]["r"].tolist(), infos["episode"]["l"].tolist()) == ([1, 0], [2, 0])


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_vector_rewards_can_be_transformed_clipped_and_normalised(mode: AutoresetMode) -> None:
    envs = gymnasium_vector.ClipReward(
        gymnasium_vector.TransformReward(vector(mode), lambda rewards: 10 * rewards), 0, 15
    )
    envs.reset(seed=0)
    envs.step(np.array([A, A]))
    envs.step(np.array([B, A]))
    assert envs.step(np.array([EOS, C]))[1].tolist() == [15, 15]

    normalised = gymnasium_vector.NormalizeReward(vector(mode), gamma=1.0)
    normalised.reset(seed=0)
    assert normalised.step(np.array([A, A]))[1].tolist() == [0, 0]
    rewards = normalised.step(np.array([EOS, B]))[1]
    # Returns so far: 0 and 0, then 1 and 0; the pseudo-count of 1e-4 hardly counts.
    assert rewards == pytest.approx([1 / np.sqrt(3 / 16), 0], rel=1e-3)


@pytest.mark.parametrize("mode", [NEXT_STEP, DISABLED], ids=lambda mode: mode.name)
def test_vector_observations_can_be_filtered_and_made_one_hots(mode: AutoresetMode) -> None:
    filtered = gymnasium_vector.FilterObservation(vector(mode), ["input_ids"])
    assert filtered.reset(seed=0)[0].keys() == {"input_ids"}

    one_hot = gymnasium_vector.FlattenObservation(vector_wrappers.PaddedTokens(vector(mode)))
    observations, _ = one_hot.reset(options={"prompt": "c"})
    assert np.array_equal(observations.reshape(2, 7, 6), np.eye(6)[[[C, *[5] * 6]] * 2])
    assert observations in one_hot.observation_space


@since_1_4
def test_gymnasium_refuses_its_own_observation_wrappers_under_same_step() -> None:
    with pytest.raises(ValueError, match="Expected autoreset_mode to be NEXT_STEP or DISABLED"):
        gymnasium_vector.FilterObservation(vector(SAME_STEP), ["input_ids"])
    vector_wrappers.PaddedTokens(vector(SAME_STEP))  # ours treat the final observations too


def test_infos_come_as_a_list_of_rows() -> None:
    envs = gymnasium_vector.DictInfoToList(vector())
    envs.reset(seed=0)
    infos: Any = envs.step(np.array([EOS, A]))[-1]
    assert infos[0]["stop_reason"] == "eos"
    assert list(infos[0]["reward_components"].values()) == [0.0]
    assert "stop_reason" not in infos[1]


def test_what_gymnasium_refuses_to_do_with_a_native_vector() -> None:
    """`gym.make_vec` hands wrappers of one environment to `sync` and `async` only."""
    with pytest.raises(gym.error.Error, match="Cannot use `vector_entry_point`"):
        gym.make_vec("TextGen-v0", 2, wrappers=[RecordEpisodeStatistics])
    envs = gym.make_vec("TextGen-v0", 2, "sync", wrappers=[RecordEpisodeStatistics], **task_of())
    envs.reset(seed=0)
    assert envs.step(np.array([EOS, EOS]))[-1]["episode"]["l"].tolist() == [1, 1]


@since_1_4
@pytest.mark.skipif(not SHOWS_PICTURES, reason="no pictures to film")
def test_vectors_are_filmed(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    envs = gymnasium_vector.RecordVideo(
        gym.make_vec("TextGen-v0", 2, render_mode="rgb_array", **task_of()),
        str(tmp_path / "films"),
        episode_trigger=lambda episode: True,
    )
    envs.reset(seed=0)
    for actions in ([A, B], [EOS, EOS], [A, A]):
        envs.step(np.array(actions))
    envs.close()
    assert list((tmp_path / "films").glob("*.mp4"))


def test_the_package_is_found_by_name_without_being_imported_first() -> None:
    assert gym.make("text_gym:TextGen-v0").unwrapped.spec.id == "TextGen-v0"
    assert text_gym.__version__
