"""Scores, skills and spammers from comparisons, held against planted truths and another library."""

from __future__ import annotations

from typing import Any

import choix
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import check_grad
from scipy.stats import spearmanr

from text_gym.feedback.aggregation.bradley_terry import (
    BradleyTerry,
    Posterior,
    Prior,
    fit_bradley_terry,
)
from text_gym.feedback.aggregation.comparisons import Comparisons, comparisons
from text_gym.feedback.aggregation.davidson import outcome_log_probs, outcome_terms
from text_gym.feedback.aggregation.majority import majority
from text_gym.feedback.aggregation.rankings import pairs_of_rankings
from text_gym.feedback.aggregation.ratings import rating_means
from text_gym.feedback.aggregation.spammers import spammers

FLAT = Prior(score_sd=1e4, skill_sd=1e-4, side_bias_sd=1e-4, tie_sd=1e4)
"""Leaves scores and ties to the data, and takes skill and sides away."""
NO_TIES = FLAT._replace(tie_mean=-30.0, tie_sd=1e-4)

SEEDS = range(20)
ANNOTATORS = 10


def drawn(log_probs: NDArray[np.float64], np_random: np.random.Generator) -> NDArray[np.int64]:
    """Draw 1, 0 or −1 with the log-probs of each row."""
    noisy = log_probs + np_random.gumbel(size=log_probs.shape)
    return 1 - noisy.argmax(axis=1)


def planted(
    np_random: np.random.Generator, items: int, per_item: int, skills: list[float]
) -> tuple[NDArray[np.float64], Comparisons]:
    """Draw scores of standard deviation 2 and comparisons, each item in `per_item` of them."""
    scores = np_random.normal(0, 2, items)
    left, right = np.concatenate(
        [np_random.permutation(items).reshape(-1, 2) for _ in range(per_item)]
    ).T
    who = np_random.permutation(np.arange(len(left)) % len(skills))
    eta = np.array(skills)[who] * (scores[left] - scores[right])
    outcome = drawn(outcome_log_probs(eta, np.full_like(eta, -1.0)), np_random)
    return scores, comparisons(left, right, outcome, who)


def told_apart(given: Comparisons, fit: BradleyTerry) -> set[int]:
    return set(spammers(given, fit))


# The likelihood


def test_the_slopes_of_one_comparison_are_those_of_its_log_prob() -> None:
    eta, tau = np.array([0.7, -1.3, 2.0]), np.array([-0.4, 0.3, -2.0])
    step = 1e-5
    for outcome in (1, 0, -1):
        said = np.full(3, outcome)
        terms = outcome_terms(eta, tau, said)
        up, down = (outcome_terms(eta + sign * step, tau, said) for sign in (1, -1))
        later, earlier = (outcome_terms(eta, tau + sign * step, said) for sign in (1, -1))

        def slope(after: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
            return (after - before) / (2 * step)

        np.testing.assert_allclose(terms.by_eta, slope(up.log_probs, down.log_probs), atol=1e-8)
        np.testing.assert_allclose(
            terms.by_tau, slope(later.log_probs, earlier.log_probs), atol=1e-8
        )
        np.testing.assert_allclose(terms.by_eta_eta, slope(up.by_eta, down.by_eta), atol=1e-8)
        np.testing.assert_allclose(terms.by_eta_tau, slope(up.by_tau, down.by_tau), atol=1e-8)
        np.testing.assert_allclose(terms.by_tau_tau, slope(later.by_tau, earlier.by_tau), atol=1e-8)


def test_gradient_and_information_of_the_posterior_are_those_of_its_cost() -> None:
    np_random = np.random.default_rng(0)
    _, given = planted(np_random, 6, 5, [1.0, 0.3])
    given = given._replace(weight=np_random.uniform(0.5, 2.0, len(given.left)))
    posterior = Posterior(given, Prior())
    x = np_random.normal(size=6 + 3 * 2)
    assert check_grad(posterior.cost, posterior.slope, x) < 1e-4
    step = 1e-6 * np.eye(len(x))
    numeric = [(posterior.slope(x + e) - posterior.slope(x - e)) / 2e-6 for e in step]
    np.testing.assert_allclose(posterior.curvature(x), numeric, atol=1e-6)


# Worked by hand, and by others


def test_two_texts_have_the_log_ratio_of_their_wins() -> None:
    # 12 to 3 with 6 ties: s0 − s1 = log(12/3); ν = 6 / √(12·3) = 1, so τ = 0.
    sides = np.arange(21) % 2
    outcome = np.repeat([1, 0, -1], [12, 6, 3]) * np.where(sides == 0, 1, -1)
    fit = fit_bradley_terry(comparisons(sides, 1 - sides, outcome), FLAT)
    lead, error = fit.lead(0, 1)
    assert lead == pytest.approx(np.log(4), abs=1e-4)
    assert fit.ties[0] == pytest.approx(0, abs=1e-4)
    # Observed information at the saturated fit: var(log(w/l)) = 1/w + 1/l.
    assert error == pytest.approx(np.sqrt(1 / 12 + 1 / 3), abs=1e-3)


def test_scores_equal_those_of_choix() -> None:
    np_random = np.random.default_rng(3)
    _, given = planted(np_random, 12, 30, [1.0])
    given = given.of(given.outcome != 0)
    won = np.where(given.outcome == 1, given.left, given.right)
    lost = np.where(given.outcome == 1, given.right, given.left)
    # choix penalises alpha·|s|², a normal prior of variance 1 / (2·alpha).
    theirs = choix.opt_pairwise(12, list(zip(won, lost, strict=True)), alpha=0.125)
    ours = fit_bradley_terry(given, NO_TIES._replace(score_sd=2.0))
    np.testing.assert_allclose(ours.scores, theirs - theirs.mean(), atol=1e-4)


def test_a_text_that_was_shown_twice_is_not_compared_with_itself() -> None:
    pairs = pairs_of_rankings([[4, 4, 5], [6, 6]], [[1, 2, 3], [1, 2]], [0, 0], [1.0, 1.0])
    assert pairs.left.tolist() == [4, 4]
    assert pairs.right.tolist() == [5, 5]


def test_rankings_recover_the_scores_that_choix_finds() -> None:
    np_random = np.random.default_rng(0)
    scores = np_random.normal(0, 1, 8)
    shown = [np_random.permutation(8)[:4] for _ in range(400)]
    best_first = [items[np.argsort(-scores[items] - np_random.gumbel(size=4))] for items in shown]
    places = [
        [int(np.flatnonzero(order == item)[0]) + 1 for item in items]
        for items, order in zip(shown, best_first, strict=True)
    ]
    pairs = pairs_of_rankings([items.tolist() for items in shown], places, [0] * 400, [1.0] * 400)
    ours = fit_bradley_terry(pairs, NO_TIES)
    theirs = choix.ilsr_rankings(8, best_first)
    np.testing.assert_allclose(ours.scores, theirs - theirs.mean(), atol=0.15)
    assert pairs.weight.sum() == pytest.approx(400 * 3)


def test_the_unit_of_scores_adds_nothing_to_their_errors() -> None:
    # One annotator's skill is 1 by definition, however little was known of it before.
    _, given = planted(np.random.default_rng(5), 10, 60, [1.0])
    known = fit_bradley_terry(given, FLAT)
    unknown = fit_bradley_terry(given, FLAT._replace(skill_sd=0.75))
    np.testing.assert_allclose(unknown.scores, known.scores, atol=1e-2)
    np.testing.assert_allclose(unknown.score_errors, known.score_errors, rtol=1e-2)
    assert unknown.skills[0] == pytest.approx(1.0)
    assert unknown.skill_errors[0] == pytest.approx(0.0, abs=1e-3)


def test_what_won_every_time_has_a_finite_score() -> None:
    fit = fit_bradley_terry(comparisons([0] * 9, [1] * 9, [1] * 9))
    assert np.isfinite(fit.scores).all()
    assert np.isfinite(fit.score_errors).all()
    assert fit.scores[0] > fit.scores[1]


def test_texts_that_nothing_connects_are_not_compared() -> None:
    fit = fit_bradley_terry(comparisons([0, 2], [1, 3], [1, 1]))
    assert fit.sets.tolist() == [0, 0, 1, 1]
    assert fit.scores[:2].sum() == pytest.approx(0)
    with pytest.raises(ValueError, match="texts 0 and 3 must be connected"):
        fit.lead(0, 3)


def test_a_weight_counts_like_as_many_comparisons() -> None:
    once = comparisons([0, 0], [1, 1], [1, -1], weight=[3, 1])
    often = comparisons([0] * 4, [1] * 4, [1, 1, 1, -1])
    np.testing.assert_allclose(
        fit_bradley_terry(once).scores, fit_bradley_terry(often).scores, atol=1e-5
    )


def test_side_bias_is_not_taken_for_worth() -> None:
    np_random = np.random.default_rng(1)
    left, right = np.repeat([0, 1], 200), np.repeat([1, 0], 200)
    eta = np.where(left == 0, 1.0, -1.0) + 1.5
    outcome = drawn(outcome_log_probs(eta, np.full_like(eta, -9.0)), np_random)
    fit = fit_bradley_terry(comparisons(left, right, outcome), Prior(side_bias_sd=3.0))
    assert fit.side_biases[0] == pytest.approx(1.5, abs=2.5 * fit.side_bias_errors[0])
    lead, error = fit.lead(0, 1)
    assert lead == pytest.approx(1.0, abs=2.5 * error)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0], [0], [1]), "right must differ from left, got 0 for both"),
        (([0], [1], [2]), "outcome must be 1, 0 or -1, got 2"),
        (([-1], [1], [1]), "left must hold indices of at least 0, got -1"),
        (([0, 0], [1], [1]), "must have one shape"),
        (([0], [1], [1], [0], [-1.0]), "weight must be finite and at least 0"),
    ],
)
def test_columns_that_are_no_comparisons_are_refused(columns: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        comparisons(*columns)


def test_nothing_to_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one comparison, got none"):
        fit_bradley_terry(comparisons([], [], []))


# Recovery of the truth


def test_forty_comparisons_of_each_text_recover_planted_scores() -> None:
    for seed in SEEDS:
        scores, given = planted(np.random.default_rng(seed), 200, 40, [1.0] * ANNOTATORS)
        assert spearmanr(scores, fit_bradley_terry(given).scores).statistic >= 0.95


def test_intervals_cover_planted_scores() -> None:
    scores, given = planted(np.random.default_rng(0), 300, 40, [1.0] * ANNOTATORS)
    fit = fit_bradley_terry(given)
    off = (fit.scores - (scores - scores.mean())) / fit.score_errors
    assert 0.9 <= (np.abs(off) < 1.96).mean() <= 0.99


def test_three_spammers_among_ten_are_named_and_nobody_else() -> None:
    for seed in SEEDS:
        np_random = np.random.default_rng(seed)
        skills = [0.0, 0.0, 0.0, *np_random.uniform(0.8, 1.25, ANNOTATORS - 3)]
        scores, given = planted(np_random, 100, 40, skills)
        leaning = np.array([[0.4, 0.2, 0.4], [0.95, 0.0, 0.05], [0.75, 0.0, 0.25]])
        spam = given.annotator < 3
        with np.errstate(divide="ignore"):
            at_random = drawn(np.log(leaning[given.annotator[spam]]), np_random)
        given.outcome[spam] = at_random
        fit = fit_bradley_terry(given)
        assert told_apart(given, fit) == {0, 1, 2}
        assert spearmanr(scores, fit.scores).statistic >= 0.92


def test_an_annotator_at_half_the_skill_is_rarely_named() -> None:
    named = 0
    for seed in range(40):
        np_random = np.random.default_rng(seed)
        _, given = planted(np_random, 40, 40, [0.5, 0.5, *[1.0] * 5])
        named += len(told_apart(given, fit_bradley_terry(given)) & {0, 1})
    assert named <= 4  # of 80 at 1 %: five or more with probability 0.1 %


def test_an_unknown_error_rate_is_refused() -> None:
    given = comparisons([0], [1], [1])
    with pytest.raises(ValueError, match="error_rate must lie in"):
        spammers(given, fit_bradley_terry(given), 0.5)


# Counting, and ratings


def test_a_majority_does_not_depend_on_sides() -> None:
    votes = majority(comparisons([3, 1, 3, 0], [1, 3, 1, 2], [-1, 1, -1, 0], weight=[1, 1, 2, 2]))
    assert list(zip(votes.first, votes.second, strict=True)) == [(0, 2), (1, 3)]
    assert votes.for_first.tolist() == [0, 4]
    assert votes.winner.tolist() == [0, 1]
    np.testing.assert_allclose(votes.share, [0.5, 1.0])


def test_ratings_are_freed_of_who_happened_to_rate() -> None:
    # Annotator 1 rates 2 higher; text 0 was rated by 0 mostly, text 1 by 1 mostly; both are equal.
    item = np.repeat([0, 1, 0, 1], [50, 5, 5, 50])
    who = np.repeat([0, 0, 1, 1], [50, 5, 5, 50])
    found = rating_means(4.0 + 2.0 * who, item, who)
    assert found.means[1] - found.means[0] == pytest.approx(0.0, abs=0.2)
    assert found.offsets[1] - found.offsets[0] == pytest.approx(2.0, abs=0.2)


def test_the_error_of_one_raters_mean_is_that_of_a_mean() -> None:
    np_random = np.random.default_rng(0)
    ratings = np_random.normal(3, 1, 100)
    found = rating_means(ratings, np.repeat([0, 1], 50), np.zeros(100, dtype=int))
    assert found.means[0] == pytest.approx(ratings[:50].mean(), abs=0.05)
    assert found.residual_sd == pytest.approx(1.0, abs=0.15)


def test_a_text_without_ratings_has_no_mean() -> None:
    found = rating_means([1, 2], [0, 2], [0, 0])
    assert np.isnan(found.means).tolist() == [False, True, False]
