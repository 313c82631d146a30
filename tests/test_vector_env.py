"""Many texts at once: equal to `SyncVectorEnv` step for step, and idle where that asserts."""

from __future__ import annotations

import copy
import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from text_gym import (
    CharTokenizer,
    HuggingFaceTokenizer,
    TextGenEnv,
    TextGenVectorEnv,
    text_rows,
)
from text_gym.checks.returned_data import frozen as plain
from text_gym.rewards import RewardError, WeightedSum, WordCount

LETTERS = CharTokenizer("abc.")
A, B, C, DOT, EOS = range(5)
MODES = list(AutoresetMode)
NEXT_STEP, SAME_STEP, DISABLED = (
    AutoresetMode.NEXT_STEP,
    AutoresetMode.SAME_STEP,
    AutoresetMode.DISABLED,
)


def task_of(**arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["ab", "c", "abca"],
        "tokenizer": LETTERS,
        "reward_function": lambda prompt, completion: 10 + len(completion),
        "max_new_tokens": 3,
    }
    return {**defaults, **arguments}


def envs_of(
    num_envs: int = 3, mode: AutoresetMode = NEXT_STEP, **arguments: Any
) -> TextGenVectorEnv:
    kwargs = {key: arguments.pop(key) for key in ("copy", "render_mode") if key in arguments}
    return TextGenVectorEnv(num_envs, autoreset_mode=mode, **kwargs, **task_of(**arguments))


def prompts_of(observations: Any, infos: Any) -> list[list[int] | None]:
    """Returns the prompt of every row that starts in these results."""
    started = infos.get("_prompt_length", np.zeros(len(observations["input_ids"]), dtype=bool))
    return [
        ids[: infos["prompt_length"][row]].tolist() if started[row] else None
        for row, ids in enumerate(observations["input_ids"])
    ]


def mask(*rows: int, n: int = 3) -> Any:
    return np.isin(np.arange(n), rows)


# Equality with SyncVectorEnv


def variants(bpe_with_special_tokens: Any) -> dict[str, dict[str, Any]]:
    masked = HuggingFaceTokenizer(bpe_with_special_tokens, vocab_size=300)
    components = WeightedSum({"words": WordCount(), "letters": lambda p, c: float(len(c))})
    return {
        "default": {},
        "one prompt length": task_of(prompts=["ab", "ca", "bb"]),
        "three prompt lengths": task_of(prompt_template=".{prompt}"),
        "stop tokens": task_of(stop_token_ids=[A, DOT], reward_function=components),
        "truncating": task_of(limit="truncate", stop_token_ids=[B]),
        "bandit": task_of(max_new_tokens=1),
        "function of prompts": task_of(
            prompts=lambda np_random: "abc"[: np_random.integers(1, 4)], max_prompt_tokens=5
        ),
        "mask": {
            "tokenizer": masked,
            "prompts": ["How", "How are you?"],
            "limit": "truncate",
            "max_new_tokens": 3,
        },
    }


VARIANTS = [
    "default",
    "one prompt length",
    "three prompt lengths",
    "stop tokens",
    "truncating",
    "bandit",
    "function of prompts",
    "mask",
]


def pair(mode: AutoresetMode, arguments: dict[str, Any], n: int = 4) -> tuple[Any, Any]:
    native = TextGenVectorEnv(n, autoreset_mode=mode, **arguments)
    sync = SyncVectorEnv([lambda: TextGenEnv(**arguments)] * n, autoreset_mode=mode)
    return native, sync


def assert_same(native: Any, sync: Any) -> None:
    for mine, theirs in zip(native, sync, strict=True):
        assert data_equivalence(plain(mine), plain(theirs), exact=True), f"\n{mine}\n!=\n{theirs}"


def assert_step_for_step(native: Any, sync: Any, actions: Any, rng: Any) -> int:
    """Steps both through `actions`, resetting finished rows if nobody else does."""
    episodes = 0
    for action in actions:
        results = native.step(action.copy())
        assert_same(results, sync.step(action.copy()))
        assert results[0] in native.observation_space
        ended = results[2] | results[3]
        episodes += ended.sum()
        if native.autoreset_mode is DISABLED and ended.any():
            more = ended | (rng.random(len(ended)) < 0.1)  # an unfinished text may be dropped
            seed = None if rng.random() < 0.8 else int(rng.integers(1000))
            reset = [
                e.reset(seed=seed, options={"reset_mask": more.copy()}) for e in (native, sync)
            ]
            assert_same(*reset)
    return episodes


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", VARIANTS)
def test_it_equals_a_sync_vector_step_for_step(
    name: str, mode: AutoresetMode, bpe_with_special_tokens: Any
) -> None:
    native, sync = pair(mode, variants(bpe_with_special_tokens)[name])
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space
    assert native.single_observation_space == sync.single_observation_space
    assert native.metadata == sync.metadata
    eos = native.tokenizer.eos_token_id
    episodes = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        actions = rng.integers(native.tokenizer.vocab_size, size=(40, 4))
        actions[rng.random(actions.shape) < 0.2] = eos
        assert_same(native.reset(seed=seed), sync.reset(seed=seed))
        episodes += assert_step_for_step(native, sync, actions, rng)
    assert episodes > 15


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_it_equals_a_sync_vector_however_it_is_reset(mode: AutoresetMode) -> None:
    native, sync = pair(mode, task_of(prompts=["a", "b", "c", "ab", "abc"]))
    rng = np.random.default_rng(0)
    for seed, options in (
        (7, None),
        (None, None),
        ([3, 1, 4, 1], {}),
        ([None, 5, None, 9], None),
        (None, {"prompt": "cab"}),
        (2, {"prompt": {"prompt": "b", "reference": "a"}, "reset_mask": mask(0, 3, n=4)}),
        ([8, 8, 8, None], {"reset_mask": mask(1, 3, n=4)}),
        (None, {"reset_mask": mask(2, n=4)}),
    ):
        results = [e.reset(seed=seed, options=copy.deepcopy(options)) for e in (native, sync)]
        assert_same(*results)
        assert_step_for_step(native, sync, rng.integers(5, size=(9, 4)), rng)
        if mode is DISABLED:  # leave nothing finished behind
            assert_same(native.reset(), sync.reset())


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP], ids=lambda mode: mode.name)
def test_row_i_equals_a_single_environment_seeded_with_s_plus_i(mode: AutoresetMode) -> None:
    prompts = ["a", "b", "c", "ab", "abc"]
    envs = envs_of(3, mode, prompts=prompts)
    drawn: list[list[Any]] = [[], [], []]
    results = envs.reset(seed=11)
    for _ in range(20):
        for row, prompt in enumerate(prompts_of(results[0], results[-1])):
            drawn[row] += [prompt] if prompt else []
        results = envs.step([EOS, EOS, EOS])
    for row in range(3):
        single = TextGenEnv(**task_of(prompts=prompts))
        for index, prompt in enumerate(drawn[row]):
            observation, info = single.reset(seed=11 + row if index == 0 else None)
            assert observation["input_ids"][: info["prompt_length"]].tolist() == prompt
        assert len(drawn[row]) >= 10
    assert drawn[0] != drawn[1] != drawn[2]


def test_gymnasium_makes_the_native_vector_and_its_own() -> None:
    native = gym.make_vec("TextGen-v0", num_envs=2, max_new_tokens=2, autoreset_mode="SameStep")
    assert isinstance(native.unwrapped, TextGenVectorEnv)
    assert native.metadata["autoreset_mode"] is SAME_STEP
    assert native.spec is not None
    assert native.spec.id == "TextGen-v0"
    sync = gym.make_vec(
        "TextGen-v0",
        num_envs=2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": SAME_STEP},
        max_new_tokens=2,
    )
    assert_same(native.reset(seed=0), sync.reset(seed=0))
    for action in ([1, 2], [3, 4], [5, 32]):
        assert_same(native.step(np.array(action)), sync.step(np.array(action)))
    native.close()
    sync.close()


def test_gymnasium_runs_it_in_processes_of_their_own() -> None:
    asynchronous = gym.make_vec(
        "TextGen-v0",
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"context": "spawn"},
        max_new_tokens=2,
    )
    native = gym.make_vec("TextGen-v0", num_envs=2, max_new_tokens=2)
    try:
        assert_same(native.reset(seed=0), asynchronous.reset(seed=0))
        for action in ([1, 2], [3, 32], [0, 0], [5, 6]):
            assert_same(native.step(np.array(action)), asynchronous.step(np.array(action)))
    finally:
        asynchronous.close()


# The contract, by itself


@given(
    actions=st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=12),
    mode=st.sampled_from(MODES),
    limit=st.sampled_from(["terminate", "truncate"]),
    seed=st.integers(0, 1000),
)
def test_every_text_is_its_prompt_and_the_actions_and_is_paid_once(
    actions: list[tuple[int, ...]], mode: AutoresetMode, limit: str, seed: int
) -> None:
    envs = envs_of(3, mode, limit=limit, stop_token_ids=[DOT])
    observations, infos = envs.reset(seed=seed)
    contexts = prompts_of(observations, infos)
    written, ended = [0, 0, 0], np.zeros(3, dtype=bool)
    for action in actions:
        if mode is DISABLED and ended.all():
            observations, infos = envs.reset()
            contexts, written, ended = prompts_of(observations, infos), [0, 0, 0], ended & False
        was_ended = ended.copy()
        observations, rewards, terminations, truncations, infos = envs.step(action)
        new_prompts = prompts_of(observations, infos)
        last = infos.get("final_info", infos)
        for row, token in enumerate(action):
            flags = (bool(terminations[row]), bool(truncations[row]))
            if was_ended[row]:
                assert (rewards[row], *flags) == (0.0, False, False)
                if mode is NEXT_STEP:
                    contexts[row], written[row], ended[row] = new_prompts[row], 0, False
                continue
            contexts[row].append(token)
            written[row] += 1
            done = token in (DOT, EOS) or written[row] == 3
            paid = done and not (token not in (DOT, EOS) and limit == "truncate")
            assert flags == (paid, done and not paid)
            assert ("_text_episode" in last and last["_text_episode"][row]) == paid
            seen = observations["input_ids"][row]
            if done and mode is SAME_STEP:
                seen = infos["final_obs"][row]["input_ids"]
            assert seen.tolist() == contexts[row] + [0] * (7 - len(contexts[row]))
            if paid:
                episode = last["text_episode"][row]
                assert [*episode.prompt_ids, *episode.completion_ids] == contexts[row]
                assert len(episode.completion_ids) == written[row]
                assert rewards[row] == 10 + len(episode.completion)
            else:
                assert rewards[row] == 0
            ended[row] = done
            if done and mode is SAME_STEP:
                contexts[row], written[row], ended[row] = new_prompts[row], 0, False
        for row, ids in enumerate(observations["input_ids"]):
            length = len(contexts[row])
            assert ids[:length].tolist() == contexts[row]
            assert not ids[length:].any()
            assert observations["attention_mask"][row].tolist() == [1] * length + [0] * (7 - length)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_the_reward_function_is_called_once_per_step_on_the_finished_texts(
    mode: AutoresetMode, recording_reward: Any
) -> None:
    reward = recording_reward()
    envs = envs_of(3, mode, reward_function=reward)
    envs.reset(seed=0)
    envs.step([A, B, C])
    assert reward.calls == []
    _, rewards, *_ = envs.step([EOS, B, EOS])
    assert reward.calls == [["a", "c"]]
    assert rewards.tolist() == [2, 0, 2]
    _, rewards, *_ = envs.step([A, C, A])
    assert reward.calls == [["a", "c"], ["bbc"]]
    assert rewards.tolist() == [0, 3, 0]


def test_same_step_files_the_last_observation_and_info_apart() -> None:
    envs = envs_of(2, SAME_STEP, prompts=["ab"])
    envs.reset(seed=0)
    observations, rewards, terminations, _, infos = envs.step([EOS, C])
    assert (rewards.tolist(), terminations.tolist()) == ([10, 0], [True, False])
    assert infos["_final_obs"].tolist() == infos["_final_info"].tolist() == [True, False]
    assert infos["final_obs"][0]["input_ids"].tolist() == [A, B, EOS, 0, 0]
    assert infos["final_obs"][1] is None
    assert infos["final_info"]["stop_reason"].tolist() == ["eos", None]
    assert observations["input_ids"].tolist() == [[A, B, 0, 0, 0], [A, B, C, 0, 0]]
    assert "stop_reason" not in infos
    assert infos["_prompt_length"].tolist() == [True, False]


def test_next_step_ignores_the_action_of_a_finished_row_whatever_it_is() -> None:
    envs = envs_of(2, NEXT_STEP, prompts=["ab"])
    envs.reset(seed=0)
    envs.step([EOS, C])
    observations, rewards, *_, infos = envs.step([-7, C])
    assert observations["input_ids"].tolist() == [[A, B, 0, 0, 0], [A, B, C, C, 0]]
    assert rewards.tolist() == [0, 0]
    assert infos["prompt_length"].tolist() == [2, 0]


# Idle rows


def test_an_idle_row_is_left_alone(recording_reward: Any) -> None:
    reward = recording_reward()
    envs = envs_of(3, DISABLED, reward_function=reward)
    envs.reset(seed=0)
    observations, *_ = envs.step([EOS, A, A])
    frozen = {key: value[0].copy() for key, value in observations.items()}
    for action in ([99, A, A], [-1, EOS, EOS], [EOS, EOS, 1000], [A, A, A]):
        observations, rewards, terminations, truncations, infos = envs.step(action)
        assert all((observations[key][0] == frozen[key]).all() for key in frozen)
        assert (rewards[0], terminations[0], truncations[0]) == (0, False, False)
        assert not any(value[0] for key, value in infos.items() if key.startswith("_"))
    assert (rewards.any(), terminations.any(), infos) == (False, False, {})
    assert reward.calls == [[""], ["aa", "aa"]]


def test_idle_steps_draw_nothing() -> None:
    prompts = ["a", "b", "c", "ab", "abc"]
    for sampling in ("with_replacement", "without_replacement"):
        drawn = []
        for idle_steps in (0, 3):
            envs = envs_of(3, DISABLED, prompts=prompts, sampling=sampling)
            sequence = [prompts_of(*envs.reset(seed=4))]
            for _ in range(6):
                envs.step([EOS, A, EOS])
                for _ in range(idle_steps):
                    envs.step([EOS, EOS, EOS])
                sequence.append(prompts_of(*envs.reset(options={"reset_mask": mask(0, 2)})))
            drawn.append(sequence)
        assert drawn[0] == drawn[1]


def test_a_reset_row_wakes_and_the_others_go_on() -> None:
    envs = envs_of(3, DISABLED, prompts=["ab"])
    envs.reset(seed=0)
    envs.step([EOS, C, EOS])
    options = {"reset_mask": mask(0)}
    observations, infos = envs.reset(options=options)
    assert options.keys() == {"reset_mask"}
    assert infos["_prompt_length"].tolist() == [True, False, False]
    assert observations["input_ids"][:, 2].tolist() == [0, C, EOS]
    observations, rewards, *_ = envs.step([B, EOS, B])
    assert observations["input_ids"][:, 2:4].tolist() == [[B, 0], [C, EOS], [EOS, 0]]
    assert rewards.tolist() == [0, 11, 0]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_the_first_reset_may_be_partial_and_leaves_the_others_idle(first: int) -> None:
    envs = envs_of(3, DISABLED, prompts=["ab"])
    observations, infos = envs.reset(seed=0, options={"reset_mask": mask(first)})
    assert np.flatnonzero(observations["attention_mask"].any(axis=1)).tolist() == [first]
    assert np.flatnonzero(infos["_prompt_length"]).tolist() == [first]
    _, rewards, terminations, *_ = envs.step([EOS, EOS, EOS])
    assert np.flatnonzero(rewards).tolist() == np.flatnonzero(terminations).tolist() == [first]


# Prompts that rows share


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("num_envs", [1, 2, 3, 5])
def test_without_replacement_prompts_come_in_one_order_however_many_rows_draw(
    mode: AutoresetMode, num_envs: int
) -> None:
    prompts = ["a", "b", "c", "ab", "ac", "bc", "abc"]
    single = TextGenEnv(**task_of(prompts=prompts, sampling="without_replacement"))
    expected = []
    for index in range(21):
        observation, info = single.reset(seed=9 if index == 0 else None)
        expected.append(observation["input_ids"][: info["prompt_length"]].tolist())
    envs = envs_of(num_envs, mode, prompts=prompts, sampling="without_replacement")
    rng = np.random.default_rng(0)
    for _ in range(2):  # seeding again restarts the epoch
        drawn: list[Any] = []
        results = envs.reset(seed=9)
        drawn += filter(None, prompts_of(results[0], results[-1]))
        while len(drawn) < 21:
            results = envs.step(rng.choice([A, EOS], size=num_envs))
            if mode is DISABLED and (results[2] | results[3]).any():
                results = envs.reset(options={"reset_mask": results[2] | results[3]})
            drawn += filter(None, prompts_of(results[0], results[-1]))
        assert drawn[:21] == expected


def test_a_list_of_no_seeds_goes_on_with_the_epoch() -> None:
    envs = envs_of(2, prompts=["a", "b", "c", "ab"], sampling="without_replacement")
    drawn = [*prompts_of(*envs.reset(seed=1)), *prompts_of(*envs.reset(seed=[None, None]))]
    assert sorted(drawn) == [[A], [A, B], [B], [C]]


def test_global_random_streams_are_neither_read_nor_changed() -> None:
    expected = prompts_of(*envs_of(3).reset(seed=1))
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002  # the global stream is what must not matter
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    envs = envs_of(3, SAME_STEP)
    assert prompts_of(*envs.reset(seed=1)) == expected
    envs.step([EOS, EOS, EOS])
    after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    assert after == before


def test_each_row_may_be_given_its_prompt() -> None:
    envs = envs_of(3)
    assert prompts_of(*envs.reset(options={"prompt": ["a", {"prompt": "b"}, "abc"]})) == [
        [A],
        [B],
        [A, B, C],
    ]
    with pytest.raises(ValueError, match=r"options\['prompt'\] must name 3 prompts, got \['a'\]"):
        envs.reset(options={"prompt": ["a"]})


# What is handed out


def scribble(data: Any) -> None:
    """Overwrites every array and dict that can be reached and written."""
    if isinstance(data, dict):
        for value in data.values():
            scribble(value)
        data.clear()
    elif isinstance(data, tuple) or (isinstance(data, np.ndarray) and data.dtype == object):
        for value in data:
            scribble(value)
    elif isinstance(data, np.ndarray) and data.flags.writeable:
        data.fill(1)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_writing_on_what_was_handed_out_changes_nothing_later(
    mode: AutoresetMode, bpe_with_special_tokens: Any
) -> None:
    arguments = {
        "tokenizer": bpe_with_special_tokens,
        "prompts": ["How", "How are you?"],
        "max_new_tokens": 3,
        "render_mode": "ansi",
    }
    clean, scribbled = (TextGenVectorEnv(3, autoreset_mode=mode, **arguments) for _ in range(2))
    for seed in (0, 1, 0):
        expected, returned = clean.reset(seed=seed), scribbled.reset(seed=seed)
        assert_same(returned, expected)
        scribble(returned)
        for action in ([40, 41, 42], [40, 0, 41], [0, 44, 45], [46, 47, 48]):
            expected, returned = clean.step(action), scribbled.step(action)
            assert_same(returned, expected)
            last = returned[4].get("final_info", returned[4])
            for episode in last.get("text_episode", ()):
                if episode is not None:
                    scribble(episode.prompt_ids)
            scribble(returned)
            assert scribbled.render() == clean.render()


def test_without_copies_observations_are_views_that_cannot_be_written() -> None:
    plain, lean = envs_of(2), envs_of(2, copy=False)
    assert_same(lean.reset(seed=0), plain.reset(seed=0))
    results = lean.step([A, EOS])
    assert_same(results, plain.step([A, EOS]))
    for value in results[0].values():
        with pytest.raises(ValueError, match="read-only"):
            value[0, 0] = 1
    before = results[0]["input_ids"].copy()
    lean.step([B, B])
    assert (results[0]["input_ids"] != before).any()
    assert_same(lean.step([C, C]), (plain.step([B, B]), plain.step([C, C]))[1])


def test_what_was_handed_out_does_not_change_later() -> None:
    envs = envs_of(2, SAME_STEP)
    outputs, copies = [], []
    for output in (envs.reset(seed=0), envs.step([A, EOS]), envs.step([EOS, A])):
        outputs.append(output)
        copies.append(copy.deepcopy(output))
    envs.step([EOS, EOS])
    envs.reset(seed=1)
    assert data_equivalence(outputs, copies, exact=True)


def test_action_masks_are_bool_and_a_row_each(bpe_with_special_tokens: Any) -> None:
    assert envs_of(2).action_masks().tolist() == [[True] * 5] * 2
    envs = TextGenVectorEnv(2, tokenizer=bpe_with_special_tokens)
    masks = envs.action_masks()
    assert (masks.dtype, masks.shape) == (np.bool_, (2, len(bpe_with_special_tokens)))
    assert np.argwhere(~masks).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"autoreset_mode": "Never"}, r"autoreset_mode must be one of \['NextStep'.*got 'Never'"),
        ({"render_mode": "depth_array"}, "render_mode must be None or one of .*got 'depth_array'"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
    ],
)
def test_a_wrong_argument_is_named_with_its_rule_and_value(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TextGenVectorEnv(**arguments)


@pytest.mark.parametrize(
    ("reset_mask", "error"),
    [
        ([True, False, True], TypeError),
        (np.array([1, 0, 1]), TypeError),
        (np.array([True, False]), ValueError),
        (np.array([[True], [False], [True]]), ValueError),
        (np.zeros(3, dtype=bool), ValueError),
    ],
    ids=["list", "integers", "short", "column", "nothing"],
)
def test_a_wrong_reset_mask_is_refused(reset_mask: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"options\['reset_mask'\] must .*got "):
        envs_of(3).reset(seed=0, options={"reset_mask": reset_mask})


def test_an_unknown_option_is_refused() -> None:
    known = r"\['reset_mask', 'prompt', 'prompt_id'\]"
    with pytest.raises(ValueError, match=rf"options must be among {known}, got \['mask'\]"):
        envs_of(3).reset(seed=0, options={"mask": np.ones(3, dtype=bool)})


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([A, A, 5], r"actions must be in Discrete\(5\), got \[0,? 0,? 5\]"),
        ([A, -1, A], r"actions must be in Discrete\(5\), got"),
        ([A, A], r"actions must be integers of shape \(3,\), got int64 of shape \(2,\)"),
        ([[A], [A], [A]], r"integers of shape \(3,\), got int64 of shape \(3, 1\)"),
        ([0.0, 1.0, 2.0], r"actions must be integers of shape \(3,\), got float64"),
        ([True, True, True], r"actions must be integers of shape \(3,\), got bool"),
    ],
)
def test_wrong_actions_are_refused_and_change_nothing(actions: Any, message: str) -> None:
    envs, clean = envs_of(3), envs_of(3)
    envs.reset(seed=0)
    clean.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(actions)
    assert_same(envs.step([A, B, C]), clean.step([A, B, C]))


def test_stepping_and_rendering_need_a_reset_and_seeds_must_be_as_many_as_rows() -> None:
    envs = envs_of(3, render_mode="ansi")
    with pytest.raises(ResetNeeded, match="reset must be called before step"):
        envs.step([A, A, A])
    with pytest.raises(ResetNeeded, match="reset must be called before render"):
        envs.render()
    with pytest.raises(ValueError, match=r"seed must be an int or 3 of them, got \[1, 2\]"):
        envs.reset(seed=[1, 2])


@pytest.mark.parametrize("seed", [1.5, "ab", np.int64(3)])
def test_seeds_of_other_types_are_refused(seed: Any) -> None:
    with pytest.raises(TypeError, match="seed must be an int or 3 of them, got "):
        envs_of(3).reset(seed=seed)


@pytest.mark.parametrize(
    ("number", "error", "rule"),
    [("2", TypeError, "an integer, got '2'"), (0, ValueError, "at least 1, got 0")],
)
def test_a_wrong_number_of_rows_is_refused(number: Any, error: type[Exception], rule: str) -> None:
    with pytest.raises(error, match=f"num_envs must be {rule}"):
        TextGenVectorEnv(number)


def test_a_reward_that_fails_stops_the_step_and_leaves_the_text_ended() -> None:
    def picky(prompt: str, completion: str) -> float:
        return 1.0 if completion == "b" else float("nan")

    envs = envs_of(2, DISABLED, reward_function=picky, prompts=["ab"])
    envs.reset(seed=0)
    envs.step([B, C])
    with pytest.raises(RewardError, match=r"'picky'.*nan.*prompt='ab', completion='c'"):
        envs.step([EOS, EOS])
    for _ in range(4):
        observations, rewards, *_ = envs.step([A, A])
        assert observations["attention_mask"].sum(axis=1).tolist() == [4, 4]
        assert rewards.tolist() == [0, 0]


# Rendering


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_it_renders_what_a_sync_vector_renders(mode: AutoresetMode) -> None:
    native, sync = pair(mode, task_of(limit="truncate", render_mode="ansi"), n=3)
    assert native.render_mode == sync.render_mode
    native.reset(seed=0)
    sync.reset(seed=0)
    for action in ([A, EOS, B], [A, A, A], [A, A, EOS]):
        assert native.render() == sync.render()
        if mode is DISABLED and EOS in action:
            for envs in (native, sync):
                envs.step(np.array(action))
                assert "stop        eos" in "".join(envs.render())
                envs.reset(options={"reset_mask": np.array(action) == EOS})
        else:
            native.step(np.array(action))
            sync.step(np.array(action))
    assert native.render() == sync.render()


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_human_prints_each_text_once_as_it_ends(
    mode: AutoresetMode, capsys: pytest.CaptureFixture[str]
) -> None:
    envs = envs_of(2, mode, prompts=["ab"], render_mode="human", limit="truncate", max_new_tokens=2)
    envs.reset(seed=0)
    envs.step([A, B])
    assert capsys.readouterr().out == ""
    envs.step([A, EOS])
    assert envs.render() is None
    assert capsys.readouterr().out.splitlines() == [
        *("[0]", "prompt      ab", "completion  aa", "stop        length", ""),
        *("[1]", "prompt      ab", "completion  b", "stop        eos"),
        *("reward      11.0000 (<lambda> 11.0000)", ""),
    ]


# What is made ahead, and what is made when it is read


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_infos_say_what_happened_whenever_they_are_read(mode: AutoresetMode) -> None:
    envs, twin = (envs_of(4, mode, prompts=["a", "bb", "ccc"]) for _ in range(2))
    unread, read = [envs.reset(seed=3)[1]], [plain(twin.reset(seed=3)[1])]
    for actions in np.random.default_rng(0).integers(5, size=(30, 4)):
        unread.append(envs.step(actions)[-1])
        read.append(plain(twin.step(actions)[-1]))
    assert all(isinstance(infos, dict) for infos in unread)
    assert data_equivalence(plain(unread), read, exact=True)
    assert any("text_episode" in infos.get("final_info", infos) for infos in read)


def test_what_is_read_of_infos_is_the_readers_own() -> None:
    infos = envs_of(2).reset(seed=0)[1]
    shared = infos.copy()
    infos["prompt_length"][:] = 9
    infos["_prompt_length"][:] = False
    assert infos["prompt_length"].tolist() == [9, 9]
    assert infos["_prompt_id"].all()
    assert shared["_prompt_length"].all()
    assert shared["prompt_length"].max() < 9


def test_more_prompts_than_are_kept_ready_are_written_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text_rows, "MOST_KEPT", 20)
    prompts = [letter * n for letter in "abc" for n in (1, 2, 3, 4)]
    envs = envs_of(3, prompts=prompts, max_new_tokens=2)
    envs.reset(seed=0)
    for actions in np.random.default_rng(0).integers(5, size=(100, 3)):
        observations, _, _, _, infos = envs.step(actions)
        for row in np.flatnonzero(infos.get("_prompt_length", [])):
            ids, place = observations["input_ids"][row], infos["prompt_id"][row]
            expected = LETTERS.encode(prompts[place])
            assert ids.tolist() == [*expected, *[0] * (6 - len(expected))]
            assert observations["attention_mask"][row].sum() == len(expected)
    assert len(envs._texts._whole) < 5


def test_a_copy_of_rows_writes_into_arrays_of_its_own() -> None:
    rows = text_rows.TextRows(2, 4)
    rows.start(0, np.array([7, 8]), 2)
    copied = copy.deepcopy(rows)
    copied.append(slice(None), np.array([5, 6]))
    copied.start(1, np.array([3]), 2)
    assert copied.input_ids.tolist() == [[7, 8, 5, 0], [3, 0, 0, 0]]
    assert rows.input_ids.tolist() == [[7, 8, 0, 0], [0, 0, 0, 0]]
