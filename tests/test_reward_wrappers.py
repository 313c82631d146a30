"""What all reward wrappers promise: vector versions, infos, seeds, state, showing, specs."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit, TransformReward
from gymnasium.wrappers import vector as gymnasium_vector
from hypothesis import given
from hypothesis import strategies as st

from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv, wrappers
from text_gym.checks.returned_data import frozen as plain
from text_gym.rewards import ExactMatch, Length, RewardError, WeightedSum
from text_gym.wrappers import vector

LETTERS = CharTokenizer("abc.")
A, B, C, DOT, EOS = range(5)
V = 5
MODES = list(AutoresetMode)


def letters(prompt: str, completion: str) -> float:
    return float(len(completion))


def count_a(prompt: str, completion: str) -> float:
    return float(completion.count("a"))


def text_value(prompt: str, completion: str) -> float:
    return sum((0.5 + i) * (ord(c) - 95) for i, c in enumerate(prompt + "|" + completion)) % 3.7


def hashed_log_probs(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A reference that depends on every id before the length, and on nothing after it."""
    positions = np.arange(1, input_ids.shape[1] + 1)
    mask = positions <= lengths[:, None]
    key = ((input_ids + 1) * positions * mask).sum(axis=1)
    logits = np.sin(key[:, None] + np.arange(V)[None, :] * 1.7)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


WRAPPED: dict[str, tuple[str, dict[str, Any]]] = {
    "annotators": ("Annotators", {"biases": [1.0, -2.0, 0.5], "scales": [1.0, 0.5, -1.0]}),
    "chunks": ("ChunkedFeedback", {"reward_function": text_value, "every": 2}),
    "chunks added": (
        "ChunkedFeedback",
        {
            "reward_function": WeightedSum({"a": count_a, "v": text_value}),
            "every": 1,
            "mode": "add",
            "weight": -0.5,
            "name": "x",
        },
    ),
    "clip": ("ClipFeedback", {"low": 0.5, "high": 1.5}),
    "delay": ("DelayedFeedback", {"episodes": 2}),
    "feedback": ("Feedback", {"reward_function": count_a, "mode": "add"}),
    "noise": ("NoisyFeedback", {"std": 0.3, "flip": 0.2, "replace": 0.3, "high": 4.0}),
    "normalization": ("NormalizeFeedback", {"center": True}),
    "overlong": ("OverlongPenalty", {"max_tokens": 4, "buffer": 3, "weight": 2.0}),
    "reference": ("ReferenceLogProb", {"log_probs": hashed_log_probs, "beta": 0.7}),
    "shaping": ("PotentialShaping", {"potential": text_value, "gamma": 0.9}),
    "sparse": ("SparseFeedback", {"fraction": 0.4}),
}
EVERY = pytest.mark.parametrize("name", WRAPPED)
RANDOM = ["annotators", "noise", "sparse"]
STEPWISE = ["chunks", "chunks added", "reference", "shaping"]


def task_of(**arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["ab", "c", "abca"],
        "tokenizer": LETTERS,
        "reward_function": letters,
        "max_new_tokens": 4,
    }
    return {**defaults, **arguments}


def env_of(**arguments: Any) -> TextGenEnv:
    return TextGenEnv(**task_of(**arguments))


def single(name: str, env: Any) -> Any:
    kind, arguments = WRAPPED[name]
    return getattr(wrappers, kind)(env, **arguments)


def many(name: str, envs: Any) -> Any:
    kind, arguments = WRAPPED[name]
    return getattr(vector, kind)(envs, **arguments)


def native(name: str, mode: AutoresetMode, rows: int = 3, **task: Any) -> Any:
    return many(name, TextGenVectorEnv(rows, autoreset_mode=mode, **task_of(**task)))


def sync_inside(name: str, mode: AutoresetMode, rows: int = 3, **task: Any) -> Any:
    fns = [lambda: single(name, env_of(**task))] * rows
    return SyncVectorEnv(fns, autoreset_mode=mode)


def sync_outside(name: str, mode: AutoresetMode, rows: int = 3, **task: Any) -> Any:
    return many(name, SyncVectorEnv([lambda: env_of(**task)] * rows, autoreset_mode=mode))


def assert_same(others: list[Any], first: Any) -> None:
    for other in others:
        assert data_equivalence(plain(other), plain(first), exact=True), f"{other} != {first}"


def drive(
    envs: list[Any], steps: int = 120, seed: int | None = 5, draw: int = 0, p_eos: float = 0.25
) -> list[Any]:
    """Step vectors side by side with the same random tokens, and require equal answers."""
    rng = np.random.default_rng(draw)
    first, *others = [env.reset(seed=seed) for env in envs]
    assert_same(others, first)
    seen = [first]
    probabilities = np.array([(1 - p_eos) / 4] * 4 + [p_eos])
    for _ in range(steps):
        actions = rng.choice(V, size=envs[0].num_envs, p=probabilities)
        first, *others = [env.step(actions.copy()) for env in envs]
        assert first[1].dtype == np.float64
        assert_same(others, first)
        seen.append(first)
        ended = first[2] | first[3]
        if envs[0].metadata["autoreset_mode"] is AutoresetMode.DISABLED and ended.any():
            first, *others = [e.reset(options={"reset_mask": ended.copy()}) for e in envs]
            assert_same(others, first)
    return seen


# Twins


@EVERY
@pytest.mark.parametrize("limit", ["terminate", "truncate"])
@pytest.mark.parametrize("autoreset", MODES, ids=lambda mode: mode.name)
def test_both_versions_pay_and_report_the_same(
    name: str, limit: str, autoreset: AutoresetMode
) -> None:
    makers = [native, sync_outside] if name == "normalization" else [native, sync_inside]
    three = [make(name, autoreset, limit=limit) for make in (*makers, sync_outside)]
    seen = drive(three)
    assert sum(np.count_nonzero(step[1]) for step in seen[1:]) > 10


@EVERY
def test_one_row_equals_one_environment(name: str) -> None:
    envs = native(name, AutoresetMode.DISABLED, rows=1)
    env = single(name, env_of())
    rng = np.random.default_rng(1)
    for episode in range(30):
        seed = 3 if episode == 0 else None
        envs.reset(seed=seed, options={"reset_mask": np.array([True])})
        env.reset(seed=seed)
        done = False
        while not done:
            action = int(rng.integers(V))
            _, rewards, terminated, _, _ = envs.step(np.array([action]))
            _, reward, done, _, _ = env.step(action)
            assert type(reward) is float
            assert (rewards[0], terminated[0]) == (reward, done)


@EVERY
@pytest.mark.parametrize("autoreset", MODES, ids=lambda mode: mode.name)
def test_wrappers_of_gymnasium_may_stand_between(name: str, autoreset: AutoresetMode) -> None:
    def wrapped() -> Any:
        env = TimeLimit(env_of(limit="truncate"), 3)
        return single(name, RecordEpisodeStatistics(TransformReward(env, lambda reward: reward)))

    def bare() -> Any:
        return RecordEpisodeStatistics(TimeLimit(env_of(limit="truncate"), 3))

    inside = SyncVectorEnv([wrapped] * 2, autoreset_mode=autoreset)
    outside = gymnasium_vector.TransformReward(
        SyncVectorEnv([bare] * 2, autoreset_mode=autoreset), lambda rewards: rewards
    )
    assert isinstance(many(name, outside), getattr(vector, WRAPPED[name][0]))
    if name == "normalization":
        return
    rng = np.random.default_rng(0)
    pair = [inside, many(name, outside)]
    for env in pair:
        env.reset(seed=9)
    truncated = 0
    for actions in rng.integers(V, size=(60, 2)):
        (_, rewards, _, cut, _), other = [env.step(actions.copy()) for env in pair]
        assert np.array_equal(rewards, other[1])
        truncated += cut.sum()
        ended = other[2] | other[3]
        if autoreset is AutoresetMode.DISABLED and ended.any():
            for env in pair:
                env.reset(options={"reset_mask": ended.copy()})
    assert truncated > 5


@EVERY
def test_rows_that_are_idle_are_paid_nothing_and_change_nothing(name: str) -> None:
    envs, reference = native(name, AutoresetMode.DISABLED), native(name, AutoresetMode.DISABLED)
    for env in (envs, reference):
        env.reset(seed=0)
        env.step(np.array([EOS, A, EOS]))
    before = copy.deepcopy(envs.get_state())
    _, rewards, terminations, _, infos = envs.step(np.array([A, B, A]))
    assert rewards[[0, 2]].tolist() == [0, 0]
    assert not terminations.any()
    assert not infos.get("_reward_components", np.zeros(3, bool))[[0, 2]].any()
    if name not in STEPWISE:
        assert envs.get_state() == before
    reference.step(np.array([C, B, DOT]))
    for env in (envs, reference):
        env.reset(options={"reset_mask": np.array([True, False, True])})
    assert_same([envs.step(np.array([A, EOS, B]))], reference.step(np.array([A, EOS, B])))


# Infos


class Log(NamedTuple):
    rewards: list[float]
    components: list[dict[str, float]]


def play(env: Any, actions: list[int], **reset: Any) -> Log:
    env.reset(**reset)
    steps = [env.step(action) for action in actions]
    return Log([s[1] for s in steps], [s[4].get("reward_components", {}) for s in steps])


@EVERY
@given(actions=st.lists(st.integers(0, EOS - 1), max_size=4), seed=st.integers(0, 99))
def test_components_sum_to_the_reward_of_every_step(
    name: str, actions: list[int], seed: int
) -> None:
    actions = actions if len(actions) == 4 else [*actions, EOS]
    log = play(single(name, env_of()), actions, seed=seed)
    for reward, components in zip(log.rewards, log.components, strict=True):
        assert reward == pytest.approx(sum(components.values()), abs=1e-12)
        assert all(type(term) is float for term in components.values())
    assert log.components[-1]


@EVERY
def test_feedback_is_changed_only_on_the_step_that_finishes_a_text(name: str) -> None:
    if name in STEPWISE:
        return
    finished = play(single(name, env_of()), [A, B, EOS], seed=0)
    assert finished.rewards[:2] == [0, 0]
    assert finished.components[:2] == [{}, {}]
    truncated = play(single(name, env_of(limit="truncate")), [A, B, C, A], seed=0)
    assert truncated == Log([0.0] * 4, [{}] * 4)


def test_two_wrappers_of_one_kind_need_different_names() -> None:
    twice = wrappers.NoisyFeedback(wrappers.NoisyFeedback(env_of(), std=1.0), std=1.0)
    with pytest.raises(ValueError, match=r"name must differ .*got \['noise'\]"):
        play(twice, [EOS])
    envs = vector.PotentialShaping(TextGenVectorEnv(2, **task_of()), letters)
    twice_many = vector.PotentialShaping(envs, letters)
    twice_many.reset(seed=0)
    with pytest.raises(ValueError, match=r"name must differ .*got \['shaping'\]"):
        twice_many.step(np.array([A, EOS]))


@pytest.mark.parametrize("autoreset", MODES, ids=lambda mode: mode.name)
def test_a_stack_of_everything_is_the_same_for_both_versions(autoreset: AutoresetMode) -> None:
    names = [name for name in WRAPPED if name not in ("normalization", "chunks")]

    def inner() -> Any:
        env: Any = env_of()
        for name in names:
            env = single(name, env)
        return env

    outer: Any = TextGenVectorEnv(3, autoreset_mode=autoreset, **task_of())
    for name in names:
        outer = many(name, outer)
    drive([outer, SyncVectorEnv([inner] * 3, autoreset_mode=autoreset)], steps=60)


class Foreign(gym.vector.VectorWrapper):
    """Pays row 0 one more on every step, as `x`, and keeps what it handed out."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.handed_out: list[Any] = []

    def step(self, actions: Any) -> Any:
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        row_0 = np.array([True, False])
        rewards = rewards + row_0
        infos["reward_components"] = {"x": row_0 * 1.0, "_x": row_0.copy()}
        infos["_reward_components"] = row_0.copy()
        self.handed_out.append((rewards, dict(infos), copy.deepcopy((rewards, infos))))
        return observations, rewards, terminations, truncations, infos

    def assert_untouched(self) -> None:
        for rewards, infos, before in self.handed_out:
            assert_same([(rewards, infos)], before)


def test_terms_of_other_rows_are_kept_and_arrays_that_were_handed_out_left_alone() -> None:
    foreign = Foreign(TextGenVectorEnv(2, **task_of()))
    envs: Any = vector.OverlongPenalty(foreign, max_tokens=1, buffer=1, name="x")
    envs = vector.ReferenceLogProb(envs, hashed_log_probs)
    envs.reset(seed=0)
    infos = envs.step(np.array([A, EOS]))[4]
    components = infos["reward_components"]
    assert components["x"].tolist() == [1.0, -1.0]
    assert components["_x"].tolist() == [True, True]
    assert infos["_reward_components"].tolist() == [True, True]
    foreign.assert_untouched()
    with pytest.raises(ValueError, match=r"name must differ .*got \['x'\]"):
        envs.step(np.array([EOS, A]))


def test_feedback_that_replaces_forgets_foreign_terms_of_the_rows_it_pays() -> None:
    foreign = Foreign(TextGenVectorEnv(2, **task_of()))
    envs = vector.Feedback(foreign, count_a, name="only")
    envs.reset(seed=0)
    _, rewards, *_, infos = envs.step(np.array([A, EOS]))
    assert rewards.tolist() == [1, 0]
    assert infos["reward_components"]["_x"].tolist() == [True, False]
    assert infos["reward_components"]["_only"].tolist() == [False, True]
    _, rewards, *_, infos = envs.step(np.array([EOS, A]))
    assert rewards.tolist() == [1, 0]
    assert infos["reward_components"].keys() == {"only", "_only"}
    foreign.assert_untouched()


# Seeds


@pytest.mark.parametrize("name", [*RANDOM, "delay"])
def test_the_same_seed_gives_the_same_rewards_and_another_gives_others(name: str) -> None:
    env = single(name, env_of())

    def run(seed: int) -> list[float]:
        env.reset(seed=seed)
        return [play(env, [A] * length + [EOS]).rewards[-1] for length in [3, 1, 2] * 5]

    first = run(0)
    assert run(0) == first
    if name != "delay":
        assert run(1) != first


@EVERY
@pytest.mark.parametrize("make", [native, sync_inside])
def test_prompts_are_those_of_the_bare_environment(name: str, make: Callable[..., Any]) -> None:
    wrapped = make(name, AutoresetMode.SAME_STEP)
    bare = TextGenVectorEnv(3, autoreset_mode="SameStep", **task_of())
    for envs in (wrapped, bare):
        envs.reset(seed=7)
    rng = np.random.default_rng(0)
    for actions in rng.integers(V, size=(80, 3)):
        assert_same([wrapped.step(actions)[0]], bare.step(actions)[0])


@pytest.mark.parametrize("name", RANDOM)
def test_a_list_of_seeds_and_a_mask_seed_only_the_rows_they_name(name: str) -> None:
    def rewards(envs: Any) -> Any:
        paid = []
        for _ in range(20):
            paid.append(envs.step(np.array([A, A]))[1])
            envs.reset(options={"reset_mask": np.array([True, True])})
        return np.array(paid)

    envs = native(name, AutoresetMode.DISABLED, rows=2, max_new_tokens=1)
    envs.reset(seed=[4, 4])
    both = rewards(envs)
    assert np.array_equal(both[:, 0], both[:, 1])
    envs.reset(seed=[4, None])
    again = rewards(envs)
    assert np.array_equal(again[:, 0], both[:, 0])
    assert not np.array_equal(again[:, 1], both[:, 1])
    envs.reset(seed=[4, 4])
    envs.reset(seed=[8, 8], options={"reset_mask": np.array([True, False])})
    assert np.array_equal(rewards(envs)[:, 1], both[:, 1])


def test_wrappers_of_different_names_draw_independently() -> None:
    def noise(name: str) -> list[float]:
        env = wrappers.NoisyFeedback(env_of(), std=1.0, name=name)
        env.reset(seed=0)
        return [play(env, [EOS]).rewards[0] for _ in range(2000)]

    correlation = np.corrcoef(noise("one"), noise("two"))[0, 1]
    assert abs(correlation) < 4 / np.sqrt(2000)


# State


@EVERY
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: json.loads(json.dumps(s))])
def test_a_vector_goes_on_bit_for_bit_from_its_state(
    name: str, copied: Callable[[Any], Any]
) -> None:
    envs = native(name, AutoresetMode.NEXT_STEP)
    rng = np.random.default_rng(0)
    envs.reset(seed=1)
    for actions in rng.integers(V, size=(41, 3)):
        envs.step(actions)
    twin = TextGenVectorEnv(3, **task_of())
    twin.set_state(envs.unwrapped.get_state())
    state = copied(envs.get_state())
    actions = rng.integers(V, size=(60, 3))
    expected = [envs.step(one) for one in actions]
    resumed = many(name, twin)
    resumed.set_state(state)
    for one, then in zip(actions, expected, strict=True):
        assert_same([resumed.step(one)], then)


@EVERY
def test_one_environment_goes_on_bit_for_bit_from_its_state(name: str) -> None:
    env = single(name, env_of())
    play(env, [A, EOS], seed=0)
    env.reset()
    env.step(B)
    state = pickle.loads(pickle.dumps(env.get_state()))
    twin = env_of()
    twin.set_state(env.unwrapped.get_state())

    def rest(env: Any) -> Any:
        last = env.step(C)[1:], env.step(EOS)[1:]
        return last, [play(env, [A] * length + [EOS]) for length in (1, 0, 3, 2)]

    expected = rest(env)
    resumed = single(name, twin)
    resumed.set_state(state)
    assert data_equivalence(rest(resumed), expected, exact=True)


@pytest.mark.parametrize("name", STEPWISE)
def test_a_state_of_another_number_of_rows_is_refused(name: str) -> None:
    state = native(name, AutoresetMode.NEXT_STEP, rows=3).get_state()
    with pytest.raises(ValueError, match="state must be of 2 rows, got 3"):
        native(name, AutoresetMode.NEXT_STEP, rows=2).set_state(state)


# Specs, muting, showing, limits


@EVERY
def test_the_spec_makes_the_wrapped_environment_again(name: str) -> None:
    env = single(name, gym.make("TextGen-v0", **task_of(prompts=["ab"])))
    assert env.spec is not None
    log = play(env, [A, B, EOS], seed=3)
    for spec in (env.spec, pickle.loads(pickle.dumps(env.spec))):
        again = gym.make(spec)
        assert play(again, [A, B, EOS], seed=3) == log


@EVERY
def test_feedback_that_replaces_silences_what_is_inside(name: str) -> None:
    env = wrappers.Feedback(single(name, env_of()), count_a, name="only")
    log = play(env, [A, B, A, EOS], seed=0)
    assert log == Log([0.0, 0.0, 0.0, 2.0], [{}, {}, {}, {"only": 2.0}])
    envs = vector.Feedback(native(name, AutoresetMode.SAME_STEP), count_a, name="only")
    envs.reset(seed=0)
    total = np.zeros(3)
    for actions in ([A, A, B], [A, EOS, B], [EOS, A, B]):
        total += envs.step(np.array(actions))[1]
    assert total.tolist() == [2, 1, 0]


@EVERY
def test_people_see_each_finished_text_once_with_the_feedback_on_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Instalments are added up; what only guides the learner is left out."""
    rewards = play(single(name, env_of(render_mode="human")), [A, A, EOS], seed=0).rewards
    worth = 2.0 if name in ("reference", "shaping") else sum(rewards)
    shown = capsys.readouterr().out
    assert shown.count("completion  aa") == 1
    assert f"reward      {worth:.4f}" in shown
    envs = native(name, AutoresetMode.SAME_STEP, rows=2, render_mode="human", prompts=["ab"])
    envs.reset(seed=0)
    steps = [envs.step(np.array(actions)) for actions in ([A, B], [A, B], [EOS, B])]
    worth = 2.0 if name in ("reference", "shaping") else sum(step[1][0] for step in steps)
    shown = capsys.readouterr().out
    assert shown.count("completion") == 1
    assert f"reward      {worth:.4f}" in shown


def test_components_that_are_shown_are_those_of_the_whole_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    env = wrappers.ChunkedFeedback(
        env_of(render_mode="human"), count_a, every=1, mode="add", weight=10.0, name="chunks"
    )
    play(wrappers.PotentialShaping(env, letters), [A, A, B, EOS], seed=0)
    shown = capsys.readouterr().out
    assert "reward      23.0000 (letters 3.0000, chunks 20.0000)" in shown


@EVERY
def test_an_outer_time_limit_pays_the_step_like_any_other(name: str) -> None:
    cut = TimeLimit(single(name, env_of()), 2)
    whole = single(name, env_of())
    for env in (cut, whole):
        env.reset(seed=0)
    assert cut.step(A)[1] == whole.step(A)[1]
    _, reward, terminated, truncated, info = cut.step(B)
    assert (terminated, truncated) == (False, True)
    assert reward == whole.step(B)[1]
    assert "text_episode" not in info
    cut.reset()
    assert play(cut, [A, EOS]).components[-1]


@EVERY
def test_gymnasiums_autoreset_wrapper_may_stand_between(name: str) -> None:
    auto = single(name, gym.wrappers.Autoreset(env_of(prompts=["ab"])))
    plain = single(name, env_of(prompts=["ab"]))
    auto.reset(seed=0)
    for episode in range(4):
        for action in (A, B, EOS):
            if action == A:
                plain.reset(seed=0) if episode == 0 else plain.reset()
            assert auto.step(action)[1] == plain.step(action)[1]
        assert auto.step(C)[1] == 0.0


@pytest.mark.parametrize("name", STEPWISE)
def test_observations_of_another_kind_are_refused(name: str) -> None:
    flat = gym.wrappers.FlattenObservation(env_of())
    with pytest.raises(ValueError, match="env must observe a Dict with input_ids and attention_"):
        single(name, flat)


def test_rewards_are_paid_around_processes() -> None:
    asynchronous = AsyncVectorEnv([env_of, env_of], context="spawn")
    try:
        envs = vector.PotentialShaping(asynchronous, letters, gamma=0.5)
        envs.reset(seed=0)
        assert envs.step(np.array([A, EOS]))[1].tolist() == [0.5, 0.0]
        assert envs.step(np.array([B, A]))[1].tolist() == [0.0, 0.0]
    finally:
        asynchronous.close()


# Arguments

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("Annotators", {"biases": []}, r"biases must name at least one annotator, got \[\]"),
    ("Annotators", {"biases": [1.0], "scales": [1, 2]}, "scales must be 1 finite numbers, got"),
    ("Annotators", {"biases": [np.nan]}, "biases must be 1 finite numbers, got"),
    (
        "Annotators",
        {"biases": [0.0, 1.0], "probabilities": [0.5, 0.6]},
        "probabilities must be at least 0 and sum to 1, got",
    ),
    (
        "Annotators",
        {"biases": [0.0, 1.0], "probabilities": [1.5, -0.5]},
        "probabilities must be at least 0 and sum to 1, got",
    ),
    (
        "ChunkedFeedback",
        {"reward_function": letters, "every": 0},
        "every must be an integer of at least 1, got 0",
    ),
    (
        "ChunkedFeedback",
        {"reward_function": letters, "every": 1, "mode": "swap"},
        "mode must be 'replace' or 'add', got 'swap'",
    ),
    ("ClipFeedback", {"low": 1.0, "high": 1.0}, "low must be below high, got 1.0, 1.0"),
    ("ClipFeedback", {"low": np.nan}, "low must be below high, got nan, inf"),
    ("DelayedFeedback", {"episodes": 0}, "episodes must be an integer of at least 1, got 0"),
    ("DelayedFeedback", {"episodes": 1.5}, "episodes must be an integer of at least 1, got 1.5"),
    ("NoisyFeedback", {"std": -1.0}, "std must be at least 0 and finite, got -1.0"),
    ("NoisyFeedback", {"flip": 0.7, "replace": 0.4}, "sum to at most 1, got 0.7, 0.4"),
    ("NoisyFeedback", {"flip": -0.1, "replace": 0.4}, "must be at least 0 .*got -0.1, 0.4"),
    ("NoisyFeedback", {"low": 2.0}, "low must be at most high, both finite, got 2.0, 1.0"),
    (
        "OverlongPenalty",
        {"max_tokens": 4, "buffer": 5},
        r"buffer must be in \[1, max_tokens=4\], got 5",
    ),
    (
        "OverlongPenalty",
        {"max_tokens": 4, "buffer": 2, "weight": np.inf},
        "weight must be finite, got inf",
    ),
    (
        "PotentialShaping",
        {"potential": letters, "gamma": 1.1},
        r"gamma must be in \[0, 1\], got 1.1",
    ),
    (
        "ReferenceLogProb",
        {"log_probs": hashed_log_probs, "beta": np.nan},
        "beta must be finite, got nan",
    ),
    ("SparseFeedback", {"fraction": 1.1}, r"fraction must be in \[0, 1\], got 1.1"),
]


@pytest.mark.parametrize(("kind", "arguments", "message"), WRONG)
def test_wrong_arguments_are_refused_when_wrapping(
    kind: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(wrappers, kind)(env_of(), **arguments)
    with pytest.raises(ValueError, match=message):
        getattr(vector, kind)(TextGenVectorEnv(2, **task_of()), **arguments)


# The texts that dense rewards see


@pytest.mark.parametrize("autoreset", MODES, ids=lambda mode: mode.name)
def test_partial_texts_have_prompt_reference_and_metadata(autoreset: AutoresetMode) -> None:
    rows = [{"prompt": "ab", "reference": "aa", "level": 1}, {"prompt": "c", "reference": "b"}]
    for make in (native, sync_inside, sync_outside):
        seen: list[Any] = []

        def potential(episodes: Any, seen: list[Any] = seen) -> Any:
            seen.extend(episodes)
            return np.zeros(len(episodes))

        WRAPPED["spy"] = ("PotentialShaping", {"potential": potential})
        envs = make("spy", autoreset, prompts=rows, prompt_template="{prompt}.")
        del WRAPPED["spy"]
        envs.reset(seed=0)
        for _ in range(3):
            envs.step(np.array([A, B, A]))
        assert {(e.prompt, e.reference, e.metadata.get("level")) for e in seen} == {
            ("ab", "aa", 1),
            ("c", "b", None),
        }
        assert {e.completion for e in seen} == {"", "a", "aa", "aaa", "b", "bb", "bbb"}
        assert {e.stop_reason for e in seen} == {"length"}


def test_a_prompt_that_is_not_listed_is_decoded() -> None:
    seen: list[str] = []
    env = wrappers.PotentialShaping(env_of(), lambda prompt, text: float(not seen.append(prompt)))
    env.reset(options={"prompt": "cab"})
    env.step(A)
    assert seen == ["cab", "cab"]


def test_prompts_of_one_text_keep_their_own_references() -> None:
    prompts = [{"prompt": "ab", "reference": "a"}, {"prompt": "ab", "reference": "b"}]
    env = wrappers.ChunkedFeedback(env_of(prompts=prompts), ExactMatch(), every=1)
    for prompt_id, expected in enumerate([1.0, 0.0]):
        env.reset(options={"prompt_id": prompt_id})
        assert env.step(A)[1] == expected
    envs = vector.ChunkedFeedback(TextGenVectorEnv(3, **task_of(prompts=prompts)), ExactMatch(), 1)
    envs.reset(options={"prompt_id": [0, 1, 1]})
    assert envs.step(np.array([A, A, B]))[1].tolist() == [1, 0, 1]
    envs.reset(options={"prompt": "c"})
    with pytest.raises(RewardError, match="received None for the prompt 'c'"):
        envs.step(np.array([A, A, B]))


def test_rows_that_name_a_prompt_and_rows_that_list_one_keep_apart() -> None:
    seen: list[tuple[str, str | None]] = []

    def potential(episodes: Any) -> Any:
        seen.extend((episode.prompt, episode.reference) for episode in episodes)
        return np.zeros(len(episodes))

    prompts = [{"prompt": "ab", "reference": "a"}, {"prompt": "ab", "reference": "b"}]
    envs = vector.PotentialShaping(TextGenVectorEnv(2, **task_of(prompts=prompts)), potential)
    envs.reset(options={"prompt": ["c", None], "prompt_id": [None, 1]})
    assert seen == [("c", None), ("ab", "b")]
    envs.reset(options={"prompt": [None, "c"], "prompt_id": [0, None]})
    assert seen[2:] == [("ab", "a"), ("c", None)]


def test_rows_of_a_sync_vector_may_have_different_prompts() -> None:
    prompts = [{"prompt": "ab", "reference": reference} for reference in ("a", "b")]
    fns = [lambda prompt=prompt: env_of(prompts=[prompt]) for prompt in prompts]
    envs = vector.ChunkedFeedback(SyncVectorEnv(fns), ExactMatch(), every=1)
    envs.reset(seed=0)
    assert envs.step(np.array([A, A]))[1].tolist() == [1, 0]


def test_references_are_known_again_after_a_state_was_set() -> None:
    prompts = [{"prompt": "ab", "reference": "aa"}]
    env, twin = (env_of(prompts=prompts) for _ in range(2))
    wrapped = wrappers.ChunkedFeedback(env, ExactMatch(), every=1)
    play(wrapped, [A], seed=0)
    twin.set_state(env.get_state())
    resumed = wrappers.ChunkedFeedback(twin, ExactMatch(), every=1)
    resumed.set_state(wrapped.get_state())
    assert resumed.step(A)[1] == 1.0


def test_a_reset_in_the_middle_of_a_text_starts_its_payments_anew() -> None:
    shaped = wrappers.PotentialShaping(env_of(prompts=["ab"]), letters)
    chunked = wrappers.ChunkedFeedback(env_of(prompts=["ab"]), letters, every=2)
    for env, expected in ((shaped, [1.0, 1.0]), (chunked, [0.0, 2.0])):
        play(env, [A, A, A], seed=0)
        assert play(env, [A, A]).rewards == expected


def test_a_reward_with_references_can_be_paid_in_chunks() -> None:
    prompts = [{"prompt": "ab", "reference": "aa"}]
    env = wrappers.ChunkedFeedback(env_of(prompts=prompts), ExactMatch(), every=1)
    assert play(env, [A, A, B, EOS], seed=0).rewards == [0.0, 1.0, -1.0, 0.0]
    assert play(env, [A, A, EOS]).rewards == [0.0, 1.0, 0.0]


def test_length_in_tokens_counts_what_was_written_so_far() -> None:
    env = wrappers.PotentialShaping(env_of(), Length(0, unit="tokens"))
    assert [round(r, 6) for r in play(env, [A, B], seed=0).rewards] == [-1.0, -1.0]
