"""Swapping and adding feedback, around one environment and around many."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TransformReward
from gymnasium.wrappers import vector as gymnasium_vector

from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv
from text_gym.checks.returned_data import frozen as plain
from text_gym.rewards import DistinctNgrams, Length, RewardError, WeightedSum, WordCount
from text_gym.wrappers import Feedback
from text_gym.wrappers import vector as vector_wrappers

LETTERS = CharTokenizer("abc.")
A, B, C, DOT, EOS = range(5)
MODES = list(AutoresetMode)


def letters(prompt: str, completion: str) -> float:
    return float(len(completion))


def count_a(prompt: str, completion: str) -> float:
    return float(completion.count("a"))


def _private(prompt: str, completion: str) -> float:
    return 0.25


def task_of(**arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["ab", "c", "abca"],
        "tokenizer": LETTERS,
        "reward_function": letters,
        "max_new_tokens": 3,
    }
    return {**defaults, **arguments}


def env_of(**arguments: Any) -> TextGenEnv:
    return TextGenEnv(**task_of(**arguments))


def last_step(env: Any, actions: list[int]) -> tuple[Any, ...]:
    env.reset(seed=0)
    *_, last = [env.step(action) for action in actions]
    return last


# One environment


def test_replacing_pays_the_new_reward_and_never_calls_the_old(recording_reward: Any) -> None:
    old, new = recording_reward(), recording_reward()
    env = Feedback(env_of(reward_function=old), new, weight=-2.0, name="new")
    env.reset(seed=0)
    assert env.step(A)[1] == 0.0
    _, reward, terminated, truncated, info = env.step(EOS)
    assert (reward, terminated, truncated) == (-4.0, True, False)
    assert type(reward) is float
    assert info["reward_components"] == {"new": -4.0}
    assert (old.calls, new.calls) == ([], [["a"]])


def test_adding_pays_both_and_reports_both(recording_reward: Any) -> None:
    old = recording_reward()
    env = Feedback(env_of(reward_function=old), count_a, mode="add", weight=0.5)
    _, reward, *_, info = last_step(env, [A, B, A])
    assert reward == 3.0 + 0.5 * 2
    assert info["reward_components"] == {"recording_reward": 3.0, "count_a": 1.0}
    assert old.calls == [["aba"]]


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_only_the_last_step_is_paid_and_a_truncated_text_is_not(
    mode: Any, recording_reward: Any
) -> None:
    new = recording_reward()
    env = Feedback(env_of(limit="truncate"), new, mode=mode)
    env.reset(seed=0)
    steps = [env.step(A) for _ in range(3)]
    assert [step[1:4] for step in steps] == [
        (0.0, False, False),
        (0.0, False, False),
        (0.0, False, True),
    ]
    assert "reward_components" not in steps[-1][4]
    assert new.calls == []


def test_wrappers_add_up_to_the_innermost_replacement(recording_reward: Any) -> None:
    never, base, extra = recording_reward(), recording_reward(), recording_reward()
    env = Feedback(env_of(reward_function=never), never, mode="add", name="inner")
    env = Feedback(env, base, name="base")
    env = Feedback(env, extra, mode="add", weight=10.0, name="extra")
    _, reward, *_, info = last_step(env, [A, EOS])
    assert reward == 2.0 + 20.0
    assert info["reward_components"] == {"base": 2.0, "extra": 20.0}
    assert (never.calls, base.calls, extra.calls) == ([], [["a"]], [["a"]])


def test_components_are_reported_under_the_wrapper_name_and_sum_to_the_reward() -> None:
    parts = WeightedSum({"a": count_a, "letters": letters}, weights={"a": 3.0, "letters": 1.0})
    for name, expected in (
        (None, {"a": 12.0, "letters": 6.0}),
        ("both", {"both/a": 12.0, "both/letters": 6.0}),
    ):
        env = Feedback(env_of(), parts, weight=2.0, name=name)
        _, reward, *_, info = last_step(env, [A, A, B])
        assert info["reward_components"] == expected
        assert reward == sum(expected.values())


def test_a_name_that_is_already_paid_is_refused_when_adding() -> None:
    env = Feedback(env_of(), letters, mode="add")
    with pytest.raises(ValueError, match=r"name must differ .*got \['letters'\]"):
        last_step(env, [EOS])
    named = Feedback(env_of(), letters, mode="add", name="again")
    assert last_step(named, [A, EOS])[4]["reward_components"] == {"letters": 1.0, "again": 1.0}
    assert last_step(Feedback(env_of(), letters), [A, EOS])[1] == 1.0


@pytest.mark.parametrize(
    "between",
    [
        lambda env: TransformReward(env, lambda reward: reward),
        RecordEpisodeStatistics,
        lambda env: RecordEpisodeStatistics(TransformReward(env, lambda reward: reward)),
        lambda env: gym.wrappers.TimeLimit(env, 10),
        lambda env: Feedback(env, count_a, mode="add"),
    ],
    ids=["transform", "statistics", "both", "time limit", "feedback"],
)
def test_muting_reaches_through_other_wrappers(between: Any, recording_reward: Any) -> None:
    old = recording_reward()
    env = Feedback(between(env_of(reward_function=old)), letters)
    assert last_step(env, [A, B, C])[1] == 3.0
    assert old.calls == []


def test_what_stands_between_still_acts_when_adding() -> None:
    env = TransformReward(env_of(), lambda reward: 100 * reward)
    env = RecordEpisodeStatistics(Feedback(env, count_a, mode="add"))
    _, reward, *_, info = last_step(env, [A, B, EOS])
    assert reward == 100 * 2 + 1
    assert info["episode"]["r"] == 201.0


def test_it_wraps_what_gymnasium_makes_and_its_spec_makes_it_again() -> None:
    env = Feedback(gym.make("TextGen-v0", max_new_tokens=4), Length(2, unit="words"), mode="add")
    assert env.spec is not None
    for spec in (env.spec, pickle.loads(pickle.dumps(env.spec))):
        again = gym.make(spec)
        assert last_step(again, [0] * 4)[1] == last_step(env, [0] * 4)[1] == 4.0 - 2.0
        assert again.unwrapped.task.max_new_tokens == 4


def test_an_environment_without_texts_is_refused_when_wrapping() -> None:
    message = "env must observe a Dict with input_ids and attention_mask, .* got Box"
    with pytest.raises(ValueError, match=message):
        Feedback(gym.make("CartPole-v1"), letters)
    for mode in ("vector_entry_point", "sync"):
        envs = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode=mode)
        with pytest.raises(ValueError, match=message):
            vector_wrappers.Feedback(envs, letters)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"mode": "swap"}, ValueError, "mode must be 'replace' or 'add', got 'swap'"),
        ({"weight": float("nan")}, ValueError, "weight must be finite, got nan"),
        ({"weight": "2"}, TypeError, "weight must be a number, got '2'"),
        ({"weight": True}, TypeError, "weight must be a number, got True"),
        ({"reward_function": lambda: 0.0}, TypeError, "^reward_function: a reward function takes"),
    ],
    ids=["mode", "weight", "text", "truth", "function"],
)
def test_wrong_arguments_are_refused_when_wrapping(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {"reward_function": letters, **arguments}
    with pytest.raises(error, match=message):
        Feedback(env_of(), **arguments)
    with pytest.raises(error, match=message):
        vector_wrappers.Feedback(TextGenVectorEnv(2), **arguments)


def test_feedback_that_fails_stops_the_step_and_shows_the_text() -> None:
    env = Feedback(env_of(), lambda prompt, completion: 1 / 0)
    with pytest.raises(RewardError, match=r"ZeroDivisionError.*completion='ac'"):
        last_step(env, [A, C, EOS])


# What a person sees

SHOWN = ["prompt      ab", "completion  aa", "stop        eos"]


@pytest.mark.parametrize(
    ("mode", "reward_line"),
    [
        ("replace", "reward      2.0000 (count_a 2.0000)"),
        ("add", "reward      4.0000 (letters 2.0000, count_a 2.0000)"),
    ],
)
def test_people_see_each_text_once_with_the_reward_that_was_paid(
    mode: Any, reward_line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    human = Feedback(env_of(prompts=["ab"], render_mode="human"), count_a, mode=mode)
    last_step(human, [A, A, EOS])
    assert capsys.readouterr().out.splitlines() == [*SHOWN, reward_line, ""]
    ansi = Feedback(env_of(prompts=["ab"], render_mode="ansi"), count_a, mode=mode)
    last_step(ansi, [A, A, EOS])
    assert ansi.render() == "\n".join([*SHOWN, reward_line])
    assert capsys.readouterr().out == ""


def test_people_see_each_text_once_however_many_wrappers_pay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    env: Any = env_of(prompts=["ab"], render_mode="human", limit="truncate")
    env = Feedback(RecordEpisodeStatistics(Feedback(env, count_a)), letters, mode="add")
    last_step(env, [A, A, EOS])
    shown = capsys.readouterr().out.splitlines()
    assert shown == [*SHOWN, "reward      4.0000 (count_a 2.0000, letters 2.0000)", ""]
    last_step(env, [A, A, A])
    assert capsys.readouterr().out.splitlines()[2:] == ["stop        length", ""]


@pytest.mark.parametrize("autoreset", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("mode", ["replace", "add"])
def test_people_see_each_text_of_a_vector_once_with_the_reward_that_was_paid(
    mode: Any, autoreset: AutoresetMode, capsys: pytest.CaptureFixture[str]
) -> None:
    envs: Any = TextGenVectorEnv(
        2, autoreset_mode=autoreset, render_mode="human", **task_of(prompts=["ab"])
    )
    envs = vector_wrappers.Feedback(envs, count_a, mode=mode)
    envs.reset(seed=0)
    envs.step([A, B])
    envs.step([A, B])
    envs.step([EOS, B])
    shown = capsys.readouterr().out.splitlines()
    rewards = {
        "replace": ["reward      2.0000 (count_a 2.0000)", "reward      0.0000 (count_a 0.0000)"],
        "add": [
            "reward      4.0000 (letters 2.0000, count_a 2.0000)",
            "reward      3.0000 (letters 3.0000, count_a 0.0000)",
        ],
    }[mode]
    assert shown == [
        *("[0]", *SHOWN, rewards[0], ""),
        *("[1]", SHOWN[0], "completion  bbb", "stop        length", rewards[1], ""),
    ]


def test_under_same_step_the_next_text_is_not_shown_with_the_reward_of_the_last() -> None:
    envs: Any = TextGenVectorEnv(
        2, autoreset_mode="SameStep", render_mode="ansi", **task_of(prompts=["ab"])
    )
    envs = vector_wrappers.Feedback(envs, count_a)
    envs.reset(seed=0)
    envs.step([EOS, A])
    assert envs.render() == ("prompt      ab\ncompletion  ", "prompt      ab\ncompletion  a")


# Many environments

STACKS: dict[str, Any] = {
    "replace": [{"reward_function": count_a, "weight": 0.5}],
    "add": [{"reward_function": count_a, "mode": "add", "weight": -1.0, "name": "minus"}],
    "private name": [
        {"reward_function": _private},
        {"reward_function": count_a, "mode": "add"},
    ],
    "components": [
        {"reward_function": WeightedSum({"a": count_a, "b": letters}), "mode": "add", "name": "x"},
        {"reward_function": DistinctNgrams(1), "mode": "add"},
    ],
}


def stacked(env: Any, wrapper: Any, stack: list[dict[str, Any]]) -> Any:
    for arguments in stack:
        env = wrapper(env, **arguments)
    return env


def native_vector(mode: AutoresetMode, task: dict[str, Any], stack: Any) -> Any:
    native = TextGenVectorEnv(3, autoreset_mode=mode, **task)
    return stacked(native, vector_wrappers.Feedback, stack)


def wrapped_inside(mode: AutoresetMode, task: dict[str, Any], stack: Any) -> Any:
    fns = [lambda: stacked(TextGenEnv(**task), Feedback, stack)] * 3
    return SyncVectorEnv(fns, autoreset_mode=mode)


def wrapped_outside(mode: AutoresetMode, task: dict[str, Any], stack: Any) -> Any:
    sync = SyncVectorEnv([lambda: TextGenEnv(**task)] * 3, autoreset_mode=mode)
    return stacked(sync, vector_wrappers.Feedback, stack)


@pytest.mark.parametrize("autoreset", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("limit", ["terminate", "truncate"])
@pytest.mark.parametrize("name", STACKS)
def test_both_versions_pay_the_same_around_native_and_sync_vectors(
    name: str, limit: str, autoreset: AutoresetMode
) -> None:
    task = task_of(limit=limit)
    three = [
        make(autoreset, task, STACKS[name])
        for make in (native_vector, wrapped_inside, wrapped_outside)
    ]
    rng = np.random.default_rng(0)
    first, *others = [envs.reset(seed=5) for envs in three]
    assert all(data_equivalence(plain(other), plain(first), exact=True) for other in others)
    paid = 0
    for actions in rng.integers(5, size=(150, 3)):
        first, *others = [envs.step(actions.copy()) for envs in three]
        assert first[1].dtype == np.float64
        for other in others:
            assert data_equivalence(plain(other), plain(first), exact=True), f"{other} != {first}"
        paid += np.count_nonzero(first[1])
        ended = first[2] | first[3]
        if autoreset is AutoresetMode.DISABLED and ended.any():
            first, *others = [e.reset(options={"reset_mask": ended.copy()}) for e in three]
            assert all(data_equivalence(plain(other), plain(first), exact=True) for other in others)
    assert paid > 10


@pytest.mark.parametrize("autoreset", MODES, ids=lambda mode: mode.name)
def test_around_a_vector_feedback_is_asked_once_per_step_and_the_old_never(
    autoreset: AutoresetMode, recording_reward: Any
) -> None:
    old, new = recording_reward(), recording_reward()
    envs: Any = TextGenVectorEnv(3, autoreset_mode=autoreset, **task_of(reward_function=old))
    envs = gymnasium_vector.TransformReward(envs, lambda rewards: rewards)
    envs = vector_wrappers.Feedback(gymnasium_vector.RecordEpisodeStatistics(envs), new)
    envs.reset(seed=0)
    envs.step([A, B, C])
    assert new.calls == []
    assert envs.step([EOS, B, EOS])[1].tolist() == [2, 0, 2]
    assert (old.calls, new.calls) == ([], [["a", "c"]])


def test_the_masks_that_are_handed_out_are_separate_arrays() -> None:
    envs = vector_wrappers.Feedback(TextGenVectorEnv(2, **task_of()), count_a)
    envs.reset(seed=0)
    infos = envs.step([EOS, A])[4]
    infos["_text_episode"][:] = infos["_reward_components"][:] = False
    assert infos["reward_components"]["_count_a"].tolist() == [True, False]


def test_muting_reaches_every_layer_inside_a_sync_vector(recording_reward: Any) -> None:
    old, middle, new = recording_reward(), recording_reward(), recording_reward()

    def make() -> Any:
        env = Feedback(env_of(reward_function=old), middle, mode="add", name="middle")
        return RecordEpisodeStatistics(TransformReward(env, lambda reward: reward))

    envs = vector_wrappers.Feedback(SyncVectorEnv([make, make]), new)
    envs.reset(seed=0)
    assert envs.step(np.array([EOS, EOS]))[1].tolist() == [1, 1]
    assert (old.calls, middle.calls, new.calls) == ([], [], [["", ""]])


def test_muting_reaches_into_processes() -> None:
    def forbidden(prompt: str, completion: str) -> float:
        raise AssertionError("the replaced reward was computed")

    def make() -> Any:
        return Feedback(TextGenEnv(reward_function=forbidden), forbidden, mode="add", name="too")

    asynchronous = AsyncVectorEnv([make, make], context="spawn")
    try:
        envs = vector_wrappers.Feedback(asynchronous, WordCount())
        envs.reset(seed=0)
        envs.step(np.array([0, 1]))
        assert envs.step(np.array([32, 32]))[1].tolist() == [1, 1]
    finally:
        asynchronous.close()


def test_a_vector_refuses_a_name_that_is_already_paid() -> None:
    envs = vector_wrappers.Feedback(TextGenVectorEnv(2, **task_of()), letters, mode="add")
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"name must differ .*got \['letters'\]"):
        envs.step([EOS, A])
