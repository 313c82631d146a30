"""Comparisons of policies: tests, corrections, win rates and regret, by worked numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from agents.evaluation.comparison import Comparison, compare
from agents.evaluation.metrics import Evaluation
from agents.evaluation.paired_tests import RESAMPLES, holm, sign_flip_p_value
from agents.evaluation.sampled_optimum import regret
from agents.evaluation.win_rates import rate_of_wins, win_rate


def test_all_signs_are_tried_where_they_are_few() -> None:
    differences = [0.5, -0.25, 3.0, 1.0, 0.0]
    means = [
        abs(np.mean(np.multiply(signs, differences)))
        for signs in itertools.product((-1, 1), repeat=5)
    ]
    as_far = [mean >= abs(np.mean(differences)) - 1e-12 for mean in means]
    assert sign_flip_p_value(differences) == sum(as_far) / 32 == 8 / 32


def test_many_signs_are_drawn_and_what_was_seen_counts_as_one_draw() -> None:
    assert sign_flip_p_value([1.0] * 100) == pytest.approx(2 / (RESAMPLES + 1), rel=1.01)
    values = np.random.default_rng(0).normal(size=100).tolist()
    assert sign_flip_p_value(values) == sign_flip_p_value(values)
    assert sign_flip_p_value(values) == sign_flip_p_value([-one for one in values])


def test_one_in_twenty_tests_of_nothing_finds_something() -> None:
    np_random = np.random.default_rng(1)
    found = [sign_flip_p_value(np_random.laplace(size=8)) <= 0.05 for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.03)


def test_differences_of_zero_say_nothing() -> None:
    assert sign_flip_p_value([0.0, 0.0, 0.0]) == 1


def test_a_test_needs_a_difference() -> None:
    with pytest.raises(ValueError, match="differences must be at least one, got none"):
        sign_flip_p_value([])


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([], []),
        ([0.02], [0.02]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # Holm's procedure step by step
        ([0.5, 0.5], [1.0, 1.0]),
        ([0.001, 0.9, 0.8], [0.003, 1.0, 1.0]),
    ],
)
def test_holm_by_hand(p_values: list[float], corrected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(corrected)


def test_win_rates_are_wilson_intervals() -> None:
    """8 of 10: (0.8 + 0.192073 ± 1.959964 √(0.016 + 0.00960365)) / 1.384146."""
    share = win_rate([1.0] * 8 + [0.0] * 2, [0.5] * 10)
    assert share == pytest.approx((0.8, 0.490162, 0.943318), abs=1e-6)


def test_ties_are_half_a_win() -> None:
    assert win_rate([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 0.0, 5.0]).value == 0.5
    assert rate_of_wins([0.5, 1.0]).value == 0.75


@pytest.mark.parametrize(
    ("scores", "others", "said"),
    [([1.0], [1.0, 2.0], "got 2 for 1"), ([], [], "at least one prompt, got none")],
)
def test_wins_are_prompt_by_prompt(scores: list[float], others: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        win_rate(scores, others)


def test_the_interval_of_regret_is_that_of_a_ratio() -> None:
    """Lost 2, 1 and 3 of 2, 4 and 6: r = 1/2, residuals 1, −1 and 0, s = 1, over the mean of 4."""
    best = np.array([2.0, 4.0, 6.0])
    found = regret(best, best - [2, 1, 3], np.zeros(3))
    assert found == pytest.approx((0.5, 4.302653 * 1 / math.sqrt(3) / 4))


def test_the_interval_of_regret_holds_the_truth() -> None:
    np_random, truth, held = np.random.default_rng(0), 0.4, []
    for _ in range(1000):
        left = np_random.uniform(0.5, 1.5, 50)
        found = regret(left, (1 - truth) * left + np_random.normal(0, 0.2, 50), np.zeros(50))
        held.append(abs(found.mean - truth) <= found.half_width)
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_the_reference_has_all_regret_and_the_optimum_none() -> None:
    best, start = np.array([1.0, 2.0]), np.array([0.0, 1.5])
    assert regret(best, start, start) == (1, 0)
    assert regret(best, best, start) == (0, 0)
    assert math.isnan(regret(start, start, start).mean), "there is nothing to lose"


def wrote(scores: list[float], log_ratio: float = 0.0, kl_coef: float | None = 0.5) -> Evaluation:
    n = len(scores)
    return Evaluation(
        prompts=[f"prompt {number}" for number in range(n)],
        completions=[f"text {score}" for score in scores],
        references=[None] * n,
        scores=scores,
        lengths=[2] * n,
        log_ratios=[log_ratio] * n,
        ref_log_probs=[-3.0] * n,
        kl_coef=kl_coef,
    )


BASE, ONE, TWO = wrote([0.0, 1.0, 2.0]), wrote([1.0, 2.0, 3.0], 1.0), wrote([5.0, 0.0, 2.0], 2.0)


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(
        {"base": BASE, "one": ONE, "two": TWO},
        {"somebody": {"base": [0.0] * 3, "one": [1.0] * 3, "two": [-1.0, 0.0, 1.0]}},
        np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 3.0]]),
    )


def test_differences_are_of_every_pair_by_reward_and_objective(found: Comparison) -> None:
    assert found.reference == "base"
    pairs = [(one.metric, one.policy, one.other) for one in found.differences]
    names = [("one", "base"), ("two", "base"), ("two", "one")]
    assert pairs == [(metric, *pair) for metric in ("reward", "objective") for pair in names]
    first = found.differences[0]
    assert first.gain == (1.0, 0.0)
    assert first.p_value == 0.25
    by_objective = found.differences[3]
    assert by_objective.gain.mean == 0.5, "a nat costs 0.5"


def test_p_values_are_corrected_metric_by_metric(found: Comparison) -> None:
    for metric in ("reward", "objective"):
        rows = [one for one in found.differences if one.metric == metric]
        assert [one.corrected for one in rows] == holm([one.p_value for one in rows])


def test_win_rates_are_over_the_reference_by_every_judge(found: Comparison) -> None:
    assert {by: dict(rates).keys() for by, rates in found.win_rates.items()} == {
        "reward": {"one", "two"},
        "somebody": {"one", "two"},
    }
    assert found.win_rates["reward"]["two"].value == 0.5
    assert found.win_rates["somebody"]["two"].value == 0.5
    assert found.win_rates["somebody"]["one"].value == 1


def test_other_rewards_have_means_of_their_own(found: Comparison) -> None:
    """Of −1, 0 and 1, s = 1."""
    assert found.other_rewards["somebody"]["two"] == pytest.approx((0, 4.302653 / math.sqrt(3)))
    assert found.figures["two"]["reward"] == pytest.approx(7 / 3)


def test_regret_is_of_the_objective(found: Comparison) -> None:
    """J* of (0, 1) at β = 0.5 is 0.5·ln((1 + e²)/2), and of the others 1 and that plus 2."""
    soft = 0.5 * math.log((1 + math.exp(2)) / 2)
    best, start = (2 * soft + 3) / 3, (0.5 + 1 + 2.5) / 3
    assert found.best is not None
    assert found.best.objective.value == pytest.approx(best)
    assert found.regrets["one"].mean == pytest.approx((best - 1.5) / (best - start))


def test_without_a_shared_vocabulary_there_is_no_kl() -> None:
    foreign = wrote([1.0, 2.0, 4.0], math.nan)
    found = compare({"base": BASE, "foreign": foreign}, None, np.array([[0.0, 1.0]] * 3))
    reward, objective = found.differences
    assert reward.gain.mean == pytest.approx(4 / 3)
    assert reward.corrected == 0.25
    assert math.isnan(objective.p_value)
    assert math.isnan(objective.corrected)
    assert found.regrets.keys() == {"base"}


def test_without_a_price_there_is_no_objective_and_no_regret() -> None:
    free = compare({"a": wrote([0.0, 1.0], kl_coef=None), "b": wrote([1.0, 3.0], kl_coef=None)})
    assert [one.metric for one in free.differences] == ["reward"]
    assert free.best is None
    assert free.regrets == {}


def test_prompts_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="before and after must be of the same two prompts"):
        compare({"a": wrote([0.0, 1.0]), "b": wrote([0.0, 1.0, 2.0])})
