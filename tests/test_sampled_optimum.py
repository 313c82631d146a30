"""The sampled optimum against numbers that are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from agents.evaluation.sampled_optimum import best_of, kl_of_best_of, optimum, soft_values

BETA = 0.1


def test_two_rewards_by_hand() -> None:
    """Of R in {0, 1}: E[exp(R/β)] = (1 + e^10) / 2, and π* gives 1 the share e^10 / (1 + e^10)."""
    found = optimum(np.array([[0.0, 1.0]]), BETA, draws=10)
    share = 1 / (1 + math.exp(-10))
    assert found.objective.value == pytest.approx(BETA * math.log((1 + math.exp(10)) / 2))
    assert found.expected_reward == pytest.approx(share)
    kl = share * math.log(2 * share) + (1 - share) * math.log(2 * (1 - share))
    assert found.kl == pytest.approx(kl)
    assert found.effective == pytest.approx([1 / (share**2 + (1 - share) ** 2)])
    assert found.doubtful == 1


def test_equal_rewards_leave_nothing_to_gain() -> None:
    found = optimum(np.full((3, 20), 0.4), BETA, draws=10)
    assert found.objective == pytest.approx((0.4, 0.4, 0.4))
    assert found.kl == pytest.approx(0, abs=1e-12)
    assert found.effective == pytest.approx([20, 20, 20])
    assert found.doubtful == 0


def test_large_rewards_do_not_overflow() -> None:
    assert soft_values(np.array([[1e3, 1e3]]), 1e-3) == pytest.approx([1e3])


def test_the_interval_covers_the_truth_of_normal_rewards() -> None:
    """Of R ~ N(0, σ²), the soft value is σ²/(2β)."""
    np_random, sigma, beta = np.random.default_rng(0), 0.3, 0.3
    truth, covered = sigma**2 / (2 * beta), 0
    for seed in range(40):
        scores = np_random.normal(0, sigma, (20, 200))
        low, high = optimum(scores, beta, draws=200, seed=seed).objective[1:]
        covered += low <= truth <= high
    assert 33 <= covered <= 40


def test_best_of_n_is_the_mean_of_all_choices() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 7))
    for n in (1, 2, 5, 7):
        chosen = [max(some) for row in scores for some in itertools.combinations(row, n)]
        assert best_of(scores, n) == pytest.approx(np.mean(chosen))


def test_kl_of_best_of_n_is_the_formula_of_the_paper() -> None:
    assert kl_of_best_of(1) == 0
    assert kl_of_best_of(8) == pytest.approx(1.2044, abs=1e-4)
