"""Feedback that errs: noise, annotators and texts that nobody rates; the statistics of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text_gym import CharTokenizer, Episode, TextGenEnv, TextGenVectorEnv
from text_gym.wrappers import Annotators, NoisyFeedback, SparseFeedback, vector
from text_gym.wrappers.annotators import AnnotatorsTransform
from text_gym.wrappers.noisy_feedback import NoiseTransform
from text_gym.wrappers.reward_transform import Finished, RewardUpdate
from text_gym.wrappers.row_streams import RowStreams
from text_gym.wrappers.sparse_feedback import SparseTransform

N = 20_000
EPISODE = Episode.from_text("a", "b")


def pay(rule: Any, rewards: Any, seed: int = 0) -> RewardUpdate:
    """Let the rule pay texts that finish one after the other in row 0."""
    rule.seed(0, seed)
    rewards = np.array(rewards, dtype=np.float64)
    rows = np.zeros(len(rewards), dtype=np.intp)
    return rule.apply(Finished(rows, rewards, [EPISODE] * len(rewards)))


def within_four_sigma(count: int, probability: float, n: int = N) -> bool:
    return abs(count - n * probability) < 4 * np.sqrt(n * probability * (1 - probability))


# Noise


def test_gaussian_noise_has_mean_zero_and_the_standard_deviation_asked_for() -> None:
    noise = pay(NoiseTransform(std=0.5), np.full(N, 3.0)).components["noise"]
    assert abs(noise.mean()) < 4 * 0.5 / np.sqrt(N)
    assert abs(noise.var() - 0.25) < 4 * 0.25 * np.sqrt(2 / N)
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 4 / np.sqrt(N)


def test_labels_flip_with_their_probability_and_only_between_the_bounds() -> None:
    labels = np.tile([1.0, 3.0], N // 2)
    rewards = pay(NoiseTransform(flip=0.3, low=1.0, high=3.0), labels).rewards
    assert set(rewards) == {1.0, 3.0}
    flipped = rewards != labels
    assert within_four_sigma(flipped.sum(), 0.3)
    assert within_four_sigma(flipped[::2].sum(), 0.3, N // 2)


def test_labels_are_replaced_by_uniform_ones_with_their_probability() -> None:
    rewards = pay(NoiseTransform(replace=0.4, low=-2.0, high=4.0), np.full(N, 9.0)).rewards
    replaced = rewards[rewards != 9.0]
    assert within_four_sigma(len(replaced), 0.4)
    assert replaced.min() >= -2
    assert replaced.max() < 4
    assert abs(replaced.mean() - 1) < 4 * (6 / np.sqrt(12)) / np.sqrt(len(replaced))
    assert within_four_sigma((replaced < -0.5).sum(), 0.25, len(replaced))


def test_a_flip_and_a_replacement_exclude_each_other() -> None:
    rewards = pay(
        NoiseTransform(flip=0.25, replace=0.25, low=0.0, high=1.0), np.full(N, 5.0)
    ).rewards
    assert within_four_sigma((rewards == -4.0).sum(), 0.25)
    assert within_four_sigma(((rewards >= 0) & (rewards < 1)).sum(), 0.25)
    assert within_four_sigma((rewards == 5.0).sum(), 0.5)


def test_more_noise_under_the_same_seed_is_the_same_noise_scaled() -> None:
    one, two = (pay(NoiseTransform(std=std), np.zeros(50), seed=3).rewards for std in (1.0, 2.0))
    assert np.array_equal(two, 2 * one)
    flips = [pay(NoiseTransform(flip=p, std=1.0), np.zeros(50), seed=3).rewards for p in (0.1, 0.6)]
    more = flips[1] - flips[0]
    assert set(np.round(more, 9)) == {0.0, 1.0}


def test_no_noise_changes_nothing() -> None:
    rewards = np.array([0.1, -7.0])
    payment = pay(NoiseTransform(), rewards)
    assert np.array_equal(payment.rewards, rewards)
    assert not payment.components["noise"].any()


# Annotators


def test_annotators_come_as_often_as_they_should_and_rate_by_their_own_line() -> None:
    rule = AnnotatorsTransform([1.0, 0.0, -3.0], [1.0, 2.0, 0.5], [0.2, 0.5, 0.3])
    rewards = np.linspace(-1, 1, N)
    payment = pay(rule, rewards)
    who = payment.infos["annotator"]
    for index, probability in enumerate([0.2, 0.5, 0.3]):
        assert within_four_sigma((who == index).sum(), probability)
    expected = np.choose(who, [rewards + 1, 2 * rewards, 0.5 * rewards - 3])
    assert np.array_equal(payment.rewards, expected)


def test_annotators_are_equally_frequent_and_unscaled_by_default() -> None:
    payment = pay(AnnotatorsTransform([0.0, 1.0, 2.0, 3.0]), np.full(N, 2.0))
    who = payment.infos["annotator"]
    assert all(within_four_sigma((who == index).sum(), 0.25) for index in range(4))
    assert np.array_equal(payment.rewards, 2.0 + who)


@given(seed=st.integers(0, 10**6))
def test_an_annotator_of_probability_zero_never_rates(seed: int) -> None:
    rule = AnnotatorsTransform([0.0] * 4, probabilities=[0.0, 0.5, 0.0, 0.5])
    assert set(pay(rule, np.zeros(40), seed).infos["annotator"]) <= {1, 3}


def test_the_annotator_is_named_in_the_last_info() -> None:
    letters = {"tokenizer": CharTokenizer("ab"), "prompts": ["a"], "max_new_tokens": 2}
    env = Annotators(TextGenEnv(**letters), biases=[5.0, 7.0])
    env.reset(seed=0)
    assert "annotator" not in env.step(0)[4]
    _, reward, *_, info = env.step(0)
    assert type(info["annotator"]) is int
    assert reward == 1.0 + [5.0, 7.0][info["annotator"]]
    envs = vector.Annotators(TextGenVectorEnv(2, **letters), biases=[5.0, 7.0])
    envs.reset(seed=0)
    infos = envs.step(np.array([0, 2]))[4]
    assert infos["_annotator"].tolist() == [False, True]
    infos = envs.step(np.array([0, 2]))[4]
    assert infos["annotator"][0] == info["annotator"]


# Sparse feedback


def test_the_fraction_asked_for_is_paid_and_marked() -> None:
    payment = pay(SparseTransform(0.15), np.full(N, 2.0))
    given_ = payment.infos["feedback_given"]
    assert within_four_sigma(given_.sum(), 0.15)
    assert np.array_equal(payment.rewards, 2.0 * given_)
    assert np.array_equal(payment.components["sparse"], -2.0 * ~given_)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, False), (1.0, True)])
def test_none_and_all_can_be_paid(fraction: float, expected: bool) -> None:
    assert set(pay(SparseTransform(fraction), np.ones(200)).infos["feedback_given"]) == {expected}


def test_a_text_worth_nothing_is_told_from_one_that_nobody_rated() -> None:
    tasks = {"tokenizer": CharTokenizer("ab"), "prompts": ["a"]}
    env = SparseFeedback(TextGenEnv(reward_function=lambda p, c: 0.0, **tasks), 0.5)
    env.reset(seed=0)
    marks = []
    for _ in range(30):
        _, reward, *_, info = env.step(2)
        assert reward == 0.0
        assert type(info["feedback_given"]) is bool
        marks.append(info["feedback_given"])
        env.reset()
    assert set(marks) == {True, False}


# Streams


def test_streams_are_those_of_the_seed_and_of_the_name_alone() -> None:
    one, two, other = RowStreams("noise"), RowStreams("noise"), RowStreams("sparse")
    one.seed(0, 11)
    two.seed(5, 11)
    other.seed(0, 11)
    first = one[0].random(3).tolist()
    assert two[5].random(3).tolist() == first
    assert other[0].random(3).tolist() != first
    assert np.random.default_rng(11).random(3).tolist() != first


def test_streams_that_were_not_seeded_differ() -> None:
    streams = RowStreams("noise")
    assert streams[0].random() != streams[1].random()


def test_a_seeded_reset_starts_the_noise_anew_and_an_unseeded_one_goes_on() -> None:
    env = NoisyFeedback(TextGenEnv(), std=1.0)
    eos = env.unwrapped.tokenizer.eos_token_id
    paid = []
    for seed in (1, None, 1, None):
        env.reset(seed=seed)
        paid.append(env.step(eos)[1])
    assert paid[:2] == paid[2:]
    assert paid[0] != paid[1]
