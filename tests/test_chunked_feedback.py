"""Feedback in instalments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given
from hypothesis import strategies as st

from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv
from text_gym.rewards import DistinctNgrams, Length, WeightedSum
from text_gym.wrappers import ChunkedFeedback, Feedback, vector

A, B, EOS = range(3)


def letters(prompt: str, completion: str) -> float:
    return float(len(completion))


def count_a(prompt: str, completion: str) -> float:
    return float(completion.count("a"))


def task_of(**arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["ab"],
        "tokenizer": CharTokenizer("ab"),
        "reward_function": letters,
        "max_new_tokens": 6,
    }
    return {**defaults, **arguments}


def play(env: Any, actions: list[int]) -> tuple[list[float], list[dict[str, float]]]:
    env.reset(seed=0)
    steps = [env.step(action) for action in actions]
    return [s[1] for s in steps], [s[4].get("reward_components", {}) for s in steps]


@pytest.mark.parametrize(
    ("every", "expected"),
    [(1, [1, 0, 1, 0, 0]), (2, [0, 1, 0, 1, 0]), (3, [0, 0, 2, 0, 0]), (9, [0, 0, 0, 0, 2])],
)
def test_the_gain_of_each_chunk_is_paid_at_its_end(every: int, expected: list[float]) -> None:
    rewards, components = play(
        ChunkedFeedback(TextGenEnv(**task_of()), count_a, every), [A, B, A, B, EOS]
    )
    assert rewards == expected
    due = [(step + 1) % every == 0 or step == 4 for step in range(5)]
    assert [bool(terms) for terms in components] == due


@given(
    actions=st.lists(st.integers(0, 1), max_size=6),
    every=st.integers(1, 7),
    weight=st.sampled_from([1.0, -0.5, 3.0]),
)
def test_instalments_sum_to_the_feedback_in_every_component(
    actions: list[int], every: int, weight: float
) -> None:
    actions = actions if len(actions) == 6 else [*actions, EOS]
    parts = WeightedSum({"d": DistinctNgrams(1), "a": count_a, "l": Length(3, unit="tokens")})
    at_once, in_the_end = play(Feedback(TextGenEnv(**task_of()), parts, weight=weight), actions)
    chunked = ChunkedFeedback(TextGenEnv(**task_of()), parts, every, weight=weight)
    rewards, components = play(chunked, actions)
    assert sum(rewards) == pytest.approx(at_once[-1], abs=1e-12)
    for name, term in in_the_end[-1].items():
        assert sum(c.get(name, 0.0) for c in components) == pytest.approx(term, abs=1e-12)


def test_the_inner_reward_is_not_computed_unless_added(recording_reward: Any) -> None:
    old = recording_reward()
    env = TextGenEnv(**task_of(reward_function=old))
    assert play(ChunkedFeedback(env, count_a, 2), [A, A, A, EOS])[0] == [0, 2, 0, 1]
    assert old.calls == []
    env = TextGenEnv(**task_of(reward_function=old))
    added = ChunkedFeedback(env, count_a, 2, mode="add", weight=10.0, name="chunks")
    rewards, components = play(added, [A, A, A, EOS])
    assert rewards == [0, 20, 0, 10 + 4]
    assert components[-1] == {"recording_reward": 4.0, "chunks": 10.0}


def test_a_truncated_text_keeps_what_it_was_paid() -> None:
    env = ChunkedFeedback(TextGenEnv(**task_of(limit="truncate", max_new_tokens=5)), letters, 2)
    assert play(env, [A] * 5)[0] == [0, 2, 0, 2, 0]
    assert play(env, [A, EOS])[0] == [0, 1]


@pytest.mark.parametrize("autoreset", list(AutoresetMode), ids=lambda mode: mode.name)
def test_a_vector_is_scored_once_per_step_on_the_texts_that_are_due(
    autoreset: AutoresetMode, recording_reward: Any
) -> None:
    reward = recording_reward()
    envs = vector.ChunkedFeedback(
        TextGenVectorEnv(3, autoreset_mode=autoreset, **task_of()), reward, 2
    )
    envs.reset(seed=0)
    paid = [envs.step(np.array(a))[1].tolist() for a in ([A, EOS, B], [A, A, EOS])]
    assert reward.calls[:2] == [[""], ["aa", "b"]]
    assert paid[0] == [0, 1, 0]
    assert paid[1][0::2] == [2, 2]
