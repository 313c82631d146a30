"""Feedback that comes some texts too late."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv
from text_gym.wrappers import DelayedFeedback, vector

A, B, EOS = range(3)


def task_of(**arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["ab"],
        "tokenizer": CharTokenizer("ab"),
        "reward_function": lambda prompt, completion: float(len(completion)),
        "max_new_tokens": 4,
    }
    return {**defaults, **arguments}


def write(env: Any, length: int, **reset: Any) -> tuple[float, dict[str, Any]]:
    """Write a text of `length` letters and return what its last step paid and said."""
    env.reset(**reset)
    for action in [A] * length + [EOS] * (length < 4):
        _, reward, _, _, info = env.step(action)
    return reward, info


@pytest.mark.parametrize(
    ("episodes", "paid", "owed"),
    [
        (1, [0, 3, 1, 4, 2], [3, 1, 4, 2, 0]),
        (2, [0, 0, 3, 1, 4], [3, 4, 5, 6, 2]),
        (9, [0, 0, 0, 0, 0], [3, 4, 8, 10, 10]),
    ],
)
def test_each_text_is_paid_as_many_texts_later(
    episodes: int, paid: list[float], owed: list[float]
) -> None:
    env = DelayedFeedback(TextGenEnv(**task_of()), episodes)
    seen = [write(env, length) for length in (3, 1, 4, 2, 0)]
    assert [reward for reward, _ in seen] == paid
    assert [info["owed_feedback"] for _, info in seen] == owed
    assert seen[1][1]["reward_components"]["delay"] == paid[1] - 1
    assert type(seen[0][1]["owed_feedback"]) is float


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(1, 5))
def test_nothing_is_lost_but_what_is_owed(lengths: list[int], episodes: int) -> None:
    env = DelayedFeedback(TextGenEnv(**task_of()), episodes)
    seen = [write(env, length) for length in lengths]
    assert sum(reward for reward, _ in seen) + seen[-1][1]["owed_feedback"] == sum(lengths)


def test_a_truncated_text_neither_pays_nor_counts() -> None:
    env = DelayedFeedback(TextGenEnv(**task_of(limit="truncate")), 1)
    assert write(env, 3)[0] == 0
    reward, info = write(env, 4)
    assert (reward, "owed_feedback" in info) == (0, False)
    assert write(env, 1)[0] == 3


def test_a_seeded_reset_forgets_and_another_does_not() -> None:
    env = DelayedFeedback(TextGenEnv(**task_of()), 1)
    write(env, 3, seed=0)
    assert write(env, 1)[0] == 3
    assert write(env, 2, seed=0)[0] == 0


def test_rows_owe_separately() -> None:
    envs = vector.DelayedFeedback(
        TextGenVectorEnv(2, autoreset_mode="SameStep", **task_of(max_new_tokens=2)), 1
    )
    envs.reset(seed=0)
    rewards = [envs.step(np.array(a))[1].tolist() for a in ([A, EOS], [EOS, A], [EOS, A], [A, EOS])]
    assert rewards == [[0, 0], [0, 0], [1, 0], [0, 2]]
