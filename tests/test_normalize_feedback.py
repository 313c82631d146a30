"""Feedback rescaled, clipped, and punished for length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text_gym import CharTokenizer, Episode, TextGenEnv, TextGenVectorEnv
from text_gym.wrappers import (
    ClipFeedback,
    NormalizeFeedback,
    OverlongPenalty,
    PotentialShaping,
    vector,
)
from text_gym.wrappers.clip_feedback import ClipTransform
from text_gym.wrappers.normalize_feedback import NormalizeTransform
from text_gym.wrappers.overlong_penalty import overlong_penalty
from text_gym.wrappers.reward_transform import Finished

A, B, EOS = range(3)
NUMBERS = st.floats(-1e3, 1e3).map(lambda x: round(x, 3))


def task_of(**arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["ab"],
        "tokenizer": CharTokenizer("ab"),
        "reward_function": lambda prompt, completion: float(len(completion)),
        "max_new_tokens": 4,
    }
    return {**defaults, **arguments}


def finished(rewards: Any) -> Finished:
    rewards = np.array(rewards, dtype=np.float64)
    return Finished(np.arange(len(rewards)), rewards, [Episode.from_text()] * len(rewards))


def last_reward(env: Any, actions: list[int], **reset: Any) -> float:
    env.reset(**reset)
    return [env.step(action)[1] for action in actions][-1]


# Running statistics


@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=5), min_size=1, max_size=8), st.booleans())
def test_statistics_are_those_of_all_feedback_so_far(
    batches: list[list[float]], center: bool
) -> None:
    rule, seen = NormalizeTransform(center), []
    for batch in batches:
        seen += batch
        payment = rule.apply(finished(batch))
        std = np.std(seen, ddof=1) if len(set(seen)) > 1 else 1.0
        shift = np.mean(seen) if center else 0.0
        assert rule.count == len(seen)
        assert rule.mean == pytest.approx(np.mean(seen), rel=1e-9, abs=1e-9)
        assert rule.std == pytest.approx(std, rel=1e-6)
        expected = (np.array(batch) - shift) / std
        assert payment.rewards == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(st.lists(NUMBERS, min_size=2, max_size=9))
def test_a_batch_leaves_the_statistics_that_its_texts_would_leave_one_by_one(
    values: list[float],
) -> None:
    together, one_by_one = NormalizeTransform(), NormalizeTransform()
    together.apply(finished(values))
    for value in values:
        one_by_one.apply(finished([value]))
    assert together.get_state() == one_by_one.get_state()


def test_a_large_offset_does_not_spoil_the_spread() -> None:
    rule = NormalizeTransform()
    rule.apply(finished(1e9 + np.array([4.0, 7.0, 13.0, 16.0])))
    assert rule.std == pytest.approx(np.sqrt(30))


def test_until_two_values_differ_nothing_is_divided() -> None:
    env = NormalizeFeedback(TextGenEnv(**task_of()))
    assert [last_reward(env, [A, A, EOS]) for _ in range(3)] == [2.0, 2.0, 2.0]
    assert last_reward(env, [EOS]) == 0.0
    assert last_reward(env, [A, A, EOS]) == pytest.approx(2 / np.std([2, 2, 2, 0, 2], ddof=1))


def test_frozen_statistics_stay_and_still_apply() -> None:
    env = NormalizeFeedback(TextGenEnv(**task_of()), center=True)
    for length in (0, 2):
        last_reward(env, [A] * length + [EOS])
    env.transform.updating = False
    assert last_reward(env, [A] * 4) == pytest.approx((4 - 1) / np.sqrt(2))
    assert (env.transform.count, env.transform.mean) == (2, 1.0)


def test_statistics_outlive_a_seeded_reset_and_are_shared_by_the_rows() -> None:
    envs = vector.NormalizeFeedback(TextGenVectorEnv(2, **task_of(max_new_tokens=1)))
    envs.reset(seed=0)
    assert envs.step(np.array([A, EOS]))[1] == pytest.approx([1 / np.sqrt(0.5), 0.0])
    envs.reset(seed=0)
    assert envs.step(np.array([A, A]))[1] == pytest.approx(1 / np.std([1, 0, 1, 1], ddof=1))
    assert envs.transform.count == 4


# Clipping


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), NUMBERS, st.floats(0.001, 10))
def test_clipped_feedback_is_exactly_within_bounds(
    rewards: list[float], low: float, width: float
) -> None:
    paid = ClipTransform(low, low + width).apply(finished(rewards)).rewards
    assert paid.tolist() == [min(max(reward, low), low + width) for reward in rewards]


def test_only_the_feedback_is_clipped() -> None:
    dense = PotentialShaping(TextGenEnv(**task_of()), lambda p, c: 10.0 * len(c))
    env = ClipFeedback(dense, high=1.0)
    env.reset(seed=0)
    assert [env.step(action)[1] for action in (A, A)] == [10.0, 10.0]
    _, reward, *_, info = env.step(EOS)
    assert reward == -18.0
    inside_out = PotentialShaping(
        ClipFeedback(TextGenEnv(**task_of()), high=1.0), lambda p, c: 10.0 * len(c)
    )
    inside_out.reset(seed=0)
    assert [inside_out.step(action)[1] for action in (A, A, EOS)] == [10.0, 10.0, 1.0 - 20.0]
    assert list(info["reward_components"].values()) == [2.0, -20.0, 0.0]


# Length


def test_the_punishment_is_that_of_the_paper() -> None:
    lengths = np.array([1, 12_288, 12_289, 14_336, 16_384, 20_480])
    penalties = overlong_penalty(lengths, max_tokens=16_384, buffer=4_096)
    assert penalties.tolist() == [0.0, 0.0, -1 / 4096, -0.5, -1.0, -1.0]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 100))
def test_the_punishment_is_one_line_between_two_levels(
    max_tokens: int, buffer: int, length: int
) -> None:
    buffer = min(buffer, max_tokens)
    penalty, next_one = overlong_penalty(np.array([length, length + 1]), max_tokens, buffer)
    assert -1 <= next_one <= penalty <= 0
    assert penalty - next_one <= 1 / buffer + 1e-12
    assert (penalty == 0) == (length <= max_tokens - buffer)
    assert (penalty == -1) == (length >= max_tokens)


def test_tokens_are_counted_with_eos_and_weighed() -> None:
    env = OverlongPenalty(TextGenEnv(**task_of()), max_tokens=4, buffer=2, weight=10.0)
    assert last_reward(env, [A, EOS]) == 1.0
    assert last_reward(env, [A, A, EOS]) == 2.0 - 5.0
    assert last_reward(env, [A, A, A, EOS]) == 3.0 - 10.0
    assert last_reward(env, [A, A, A, A]) == 4.0 - 10.0


def test_a_truncated_text_is_not_punished() -> None:
    env = OverlongPenalty(TextGenEnv(**task_of(limit="truncate")), max_tokens=4, buffer=4)
    assert last_reward(env, [A, A, A, A]) == 0.0
