from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

import text_gym
from text_gym import (
    CallablePrompts,
    EpochPrompts,
    GroupedPrompts,
    Prompt,
    TextGenEnv,
    TextGenVectorEnv,
)
from text_gym.row_state import recalled_prompt, recorded_prompt
from text_gym.wrappers import RemainingTokens, vector

TOKENIZER = text_gym.CharTokenizer("abc ")
PROMPTS = ["a", "bb", "ccc", "ab c"]


def play(env: Any, actions: np.ndarray) -> list[Any]:
    """Steps, resetting where a text ends, and returns all that was seen."""
    seen = []
    for action in actions:
        seen.append(env.step(int(action)))
        if seen[-1][2] or seen[-1][3]:
            seen.append(env.reset())
    return seen


@pytest.mark.parametrize("steps", [0, 1, 7, 30])
def test_restored_environment_repeats_the_future(steps: int) -> None:
    env = TextGenEnv(EpochPrompts(PROMPTS), TOKENIZER, max_new_tokens=5)
    env.reset(seed=3)
    np_random = np.random.default_rng(0)
    play(env, np_random.integers(0, 5, steps))
    state = env.get_state()
    actions = np_random.integers(0, 5, 40)
    expected = play(env, actions)
    other = TextGenEnv(EpochPrompts(PROMPTS), TOKENIZER, max_new_tokens=5)
    other.reset()
    other.set_state(json.loads(json.dumps(state)))
    assert data_equivalence(play(other, actions), expected, exact=True)
    env.set_state(state)
    assert data_equivalence(play(env, actions), expected, exact=True)


def test_snapshot_is_a_copy() -> None:
    env = TextGenEnv(PROMPTS, TOKENIZER)
    env.reset(seed=0)
    state = env.get_state()
    kept = copy.deepcopy(state)
    play(env, np.zeros(10))
    assert state == kept
    restored, info = env.set_state(state)
    assert info["prompt_length"] == restored["attention_mask"].sum()
    restored["input_ids"][:] = 9
    assert env.set_state(state)[0]["input_ids"].max() < 5


def test_snapshot_of_a_finished_text_is_finished() -> None:
    env = TextGenEnv(PROMPTS, TOKENIZER, render_mode="ansi")
    env.reset(seed=0)
    env.step(TOKENIZER.eos_token_id)
    state, shown = env.get_state(), env.render()
    env.reset()
    env.set_state(state)
    assert env.render() == shown
    with pytest.raises(ResetNeeded):
        env.step(0)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_restored_vector_repeats_the_future(mode: AutoresetMode) -> None:
    def make() -> TextGenVectorEnv:
        source = EpochPrompts(PROMPTS)
        return TextGenVectorEnv(
            3, prompts=source, tokenizer=TOKENIZER, max_new_tokens=5, autoreset_mode=mode
        )

    def future(envs: TextGenVectorEnv, actions: np.ndarray) -> list[Any]:
        seen: list[Any] = []
        for action in actions:
            seen.append(envs.step(action))
            ended = seen[-1][2]
            if mode is AutoresetMode.DISABLED and ended.any():
                seen.append(envs.reset(options={"reset_mask": ended}))
        return seen

    envs = make()
    envs.reset(seed=1)
    np_random = np.random.default_rng(0)
    future(envs, np_random.integers(0, 5, (11, 3)))
    state = json.loads(json.dumps(envs.get_state()))
    actions = np_random.integers(0, 5, (40, 3))
    expected = future(envs, actions)
    other = make()
    other.set_state(state)
    assert data_equivalence(future(other, actions), expected, exact=True)


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda envs: pickle.loads(pickle.dumps(envs))],
    ids=["deepcopy", "pickle"],
)
def test_copied_vector_goes_on_by_itself(duplicate: Any) -> None:
    envs = TextGenVectorEnv(2, prompts=PROMPTS, tokenizer=TOKENIZER, max_new_tokens=5)
    envs.reset(seed=0)
    envs.step(np.array([0, 1]))
    twin = duplicate(envs)
    expected = [envs.step(np.array([2, 2])) for _ in range(8)]
    assert data_equivalence([twin.step(np.array([2, 2])) for _ in range(8)], expected, exact=True)


def test_row_forks_into_other_rows_and_into_a_single_environment() -> None:
    envs = TextGenVectorEnv(3, prompts=PROMPTS, tokenizer=TOKENIZER, max_new_tokens=6)
    envs.reset(seed=0)
    envs.step(np.array([0, 1, 2]))
    state = envs.get_row_state(1)
    observation = envs.set_row_state(2, state)
    assert np.array_equal(observation["input_ids"][1], observation["input_ids"][2])
    single = TextGenEnv(PROMPTS, TOKENIZER, max_new_tokens=6)
    assert data_equivalence(
        single.set_state(state)[0], {key: value[1] for key, value in observation.items()}
    )
    envs.set_row_state(0, {"row": single.get_state()["row"]})
    assert envs.get_row_state(0)["row"]["prompt"] == envs.get_row_state(1)["row"]["prompt"]


def test_branching_estimates_the_value_of_a_state() -> None:
    """From "a", a uniform policy over {a, b, EOS} writes a geometric number of words more."""
    tokenizer = text_gym.WordTokenizer(["a", "b"])
    n = 2000
    envs = TextGenVectorEnv(
        n, prompts=["a"], tokenizer=tokenizer, max_new_tokens=6, autoreset_mode="Disabled"
    )
    envs.reset(seed=0)
    envs.step(np.zeros(n, dtype=np.int64))
    state = envs.get_row_state(0)
    for row in range(1, n):
        envs.set_row_state(row, state)
    np_random = np.random.default_rng(0)
    returns, ended = np.zeros(n), np.zeros(n, dtype=bool)
    while not ended.all():
        _, rewards, terminated, _, _ = envs.step(np_random.integers(0, 3, n))
        returns += rewards
        ended |= terminated
    value = 1 + sum((2 / 3) ** k for k in range(1, 6))
    assert abs(returns.mean() - value) < 4 * returns.std() / np.sqrt(n)


def test_snapshot_before_the_first_reset_is_refused() -> None:
    with pytest.raises(ResetNeeded, match="reset must be called before get_state"):
        TextGenEnv(PROMPTS, TOKENIZER).get_state()
    envs = TextGenVectorEnv(2, prompts=PROMPTS, tokenizer=TOKENIZER)
    with pytest.raises(ResetNeeded, match="row 0 has no text"):
        envs.get_state()
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="state must have 3 rows, got 2"):
        TextGenVectorEnv(3, prompts=PROMPTS, tokenizer=TOKENIZER).set_state(envs.get_state())


def grouped() -> GroupedPrompts:
    return GroupedPrompts(EpochPrompts(PROMPTS), 3)


def unlisted() -> CallablePrompts:
    return CallablePrompts(
        lambda np_random: Prompt(
            "ab"[np_random.integers(2)], "b", {"level": float(np_random.random())}
        )
    )


@pytest.mark.parametrize("source", [grouped, unlisted])
def test_every_source_goes_on_from_a_state_in_json(source: Any) -> None:
    def make() -> TextGenVectorEnv:
        return TextGenVectorEnv(
            2,
            prompts=source(),
            tokenizer=TOKENIZER,
            max_new_tokens=3,
            max_prompt_tokens=4,
            autoreset_mode="SameStep",
        )

    def future(envs: TextGenVectorEnv) -> list[Any]:
        np_random = np.random.default_rng(1)
        return [envs.step(action) for action in np_random.integers(0, 5, (20, 2))]

    envs = make()
    envs.reset(seed=2)
    future(envs)
    state = json.loads(json.dumps(envs.get_state()))
    other = make()
    other.set_state(state)
    assert data_equivalence(future(other), future(envs), exact=True)


def test_a_listed_prompt_is_written_down_by_its_place() -> None:
    long = "a" * 1000
    envs = TextGenVectorEnv(50, prompts=[long, "b"], tokenizer=TOKENIZER)
    envs.reset(seed=0)
    assert long not in json.dumps(envs.get_state())
    envs.reset(options={"prompt": "ab"})
    assert envs.get_row_state(0)["row"]["prompt"]["text"] == "ab"


@pytest.mark.parametrize(
    ("listed", "drawn"),
    [
        (Prompt("a", "b"), Prompt("c", "b")),
        (Prompt("a", "b"), Prompt("a", "c")),
        (Prompt("a", "b", {"x": 1}), Prompt("a", "b", {"x": 2})),
        (Prompt("a", "b"), Prompt("a", "b", {"x": 2})),
    ],
)
def test_a_changed_prompt_of_a_known_place_is_written_down_whole(
    listed: Prompt, drawn: Prompt
) -> None:
    drawn = dataclasses.replace(drawn, info={"prompt_id": 0})
    assert recalled_prompt(recorded_prompt(drawn, [listed]), [listed]) == drawn


def test_state_of_a_task_with_more_prompts_is_refused() -> None:
    env = TextGenEnv(PROMPTS, TOKENIZER)
    env.reset(options={"prompt_id": 3})
    with pytest.raises(ValueError, match="a task with prompt 3, got 2 listed prompts"):
        TextGenEnv(PROMPTS[:2], TOKENIZER, max_prompt_tokens=4).set_state(env.get_state())


def test_a_row_that_was_not_paid_shows_no_old_payment() -> None:
    envs = TextGenVectorEnv(1, prompts=PROMPTS, tokenizer=TOKENIZER, render_mode="ansi")
    envs.reset(seed=0)
    state, shown = envs.get_state(), envs.render()
    envs.step(np.array([TOKENIZER.eos_token_id]))
    envs.set_state(state)
    assert envs.render() == shown


def test_remaining_tokens_go_on_from_their_state() -> None:
    def make() -> vector.RemainingTokens:
        envs = TextGenVectorEnv(3, prompts=PROMPTS, tokenizer=TOKENIZER, max_new_tokens=5)
        return vector.RemainingTokens(envs)

    envs, other = make(), make()
    envs.reset(seed=4)
    other.unwrapped.set_state(envs.unwrapped.get_state())
    other.set_state(json.loads(json.dumps(envs.get_state())))
    expected, found = (one.step(np.zeros(3, dtype=int))[0] for one in (envs, other))
    assert data_equivalence(found, expected, exact=True)
    with pytest.raises(ValueError, match="state must be of 3 rows, got 2"):
        other.set_state({"prompt_lengths": [1, 1]})


def test_remaining_tokens_of_one_environment_go_on_from_their_state() -> None:
    env, other = (RemainingTokens(TextGenEnv(PROMPTS, TOKENIZER)) for _ in range(2))
    env.reset(options={"prompt_id": 2})
    other.unwrapped.set_state(env.unwrapped.get_state())
    other.set_state(json.loads(json.dumps(env.get_state())))
    assert other.step(0)[0]["remaining_tokens"] == env.step(0)[0]["remaining_tokens"] == 19
