"""How good each text is, from comparisons by people of different skill.

The model is Bradley and Terry's with Davidson's ties (see `davidson`). Annotator a, who sees i on
the left and j on the right, answers with

    η = γ_a·(s_i − s_j) + b_a,   τ = τ_a

where s are the scores of the texts, γ_a is the skill (0: answers do not depend on the texts; below
0: turned round), b_a the bias towards the left side and τ_a the inclination to ties. What is
returned is the mode of the posterior under a normal prior of each parameter, which makes every
estimate finite, with standard errors from the observed information.

Scores have no zero: within each set of texts that are connected by comparisons their mean is 0, and
between such sets nothing is known. Nor have they a unit: it is chosen so that the median annotator
has skill 1, so that a difference of scores is a difference in log-odds for that annotator.

Knows indices only. Time and memory grow with the square of texts + 3 annotators.

Sources: Bradley and Terry, 1952, Biometrika 39; Chen, Bennett, Collins-Thompson and Horvitz, 2013,
"Pairwise ranking aggregation in a crowdsourced setting", WSDM, for annotators of different skill.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components

from text_gym.feedback.aggregation.comparisons import Comparisons, Floats, Indices
from text_gym.feedback.aggregation.davidson import Terms, outcome_terms

LEAST_UNIT = 0.1
"""Were the median skill lower, nothing but noise would be blown up by dividing by it."""


class Prior(NamedTuple):
    """Holds what is believed before any comparison: means and standard deviations of normals.

    The defaults are weak: a text's score is known to about 3 logits; an annotator is about as
    likely as not to lie between half and one and a half times the usual skill; sides matter little;
    a pair of equals is tied with a probability of 1 % to 76 %.
    """

    score_sd: float = 3.0
    skill_mean: float = 1.0
    skill_sd: float = 0.75
    side_bias_sd: float = 1.0
    tie_mean: float = -1.0
    tie_sd: float = 1.5


class BradleyTerry(NamedTuple):
    """Holds what comparisons say of n texts and A annotators; `_errors` are standard errors."""

    scores: Floats
    """(n,) in log-odds of the median annotator."""
    score_covariance: Floats
    """(n, n)."""
    sets: Indices
    """(n,): texts of one number are connected by comparisons; scores of others are not
    comparable."""
    skills: Floats
    """(A,) in multiples of the median skill."""
    skill_errors: Floats
    side_biases: Floats
    """(A,) in logits towards the left."""
    side_bias_errors: Floats
    ties: Floats
    """(A,): τ, the log-odds of a tie over either side between equals."""
    tie_errors: Floats

    @property
    def score_errors(self) -> Floats:
        """(n,)."""
        return np.sqrt(np.diag(self.score_covariance))

    def lead(self, left: int, right: int) -> tuple[float, float]:
        """Returns by how much one text is better than another, in logits, with its standard error.

        Raises:
            ValueError: If no comparisons connect them.
        """
        if self.sets[left] != self.sets[right]:
            raise ValueError(f"texts {left} and {right} must be connected by comparisons")
        between = np.ix_([left, right], [left, right])
        contrast = np.array([1.0, -1.0])
        variance = contrast @ self.score_covariance[between] @ contrast
        return float(self.scores[left] - self.scores[right]), float(np.sqrt(variance))


def fit_bradley_terry(given: Comparisons, prior: Prior | None = None) -> BradleyTerry:
    """Returns scores, skills, side biases and inclinations to ties.

    Args:
        given: At least one comparison.
        prior: Makes the estimates finite; the standard one if None.

    Raises:
        ValueError: If there is no comparison.
        ArithmeticError: If the fit does not converge.

    Example:
        >>> from text_gym.feedback.aggregation.comparisons import comparisons
        >>> fit = fit_bradley_terry(comparisons([0, 1] * 20, [1, 2] * 20, [1, 1, 1, -1] * 10))
        >>> fit.scores.argmax(), fit.sets
        (np.int64(0), array([0, 0, 0]))
    """
    if not len(given.outcome):
        raise ValueError("given must hold at least one comparison, got none")
    posterior = Posterior(given, prior or Prior())
    found = minimize(
        posterior.cost,
        posterior.mean,
        jac=posterior.slope,
        method="L-BFGS-B",
        options={"maxiter": 10_000, "maxfun": 20_000, "ftol": 1e-13, "gtol": 1e-7},
    )
    if not found.success:
        raise ArithmeticError(f"the fit must converge, but the optimiser says: {found.message}")
    covariance = np.asarray(np.linalg.inv(posterior.curvature(found.x)), dtype=np.float64)
    # The optimiser stops where the cost is flat; a step of Newton's ends where the slope is 0.
    mode = found.x - covariance @ posterior.slope(found.x)
    return _in_units(given, mode, covariance)


class Posterior:
    """The negative log-posterior, up to a constant, of x = (scores, skills, side biases, ties).

    Args:
        given: The comparisons.
        prior: Of every parameter.

    Attributes:
        mean: Of the prior, (n + 3A,).
    """

    def __init__(self, given: Comparisons, prior: Prior) -> None:
        self._given = given
        n, count = given.item_count, given.annotator_count
        self.mean = np.repeat(
            [0.0, prior.skill_mean, 0.0, prior.tie_mean], [n, count, count, count]
        )
        deviations = (prior.score_sd, prior.skill_sd, prior.side_bias_sd, prior.tie_sd)
        self._precision = np.repeat(np.array(deviations) ** -2.0, [n, count, count, count])
        self._ends = [n, n + count, n + 2 * count]

    def cost(self, x: Floats) -> float:
        """Returns −log P(outcomes | x) − log P(x), up to a constant."""
        likelihood = self._given.weight @ self._terms(x).log_probs
        return float(0.5 * self._precision @ (x - self.mean) ** 2 - likelihood)

    def slope(self, x: Floats) -> Floats:
        """Returns the gradient of the cost, (n + 3A,)."""
        terms, weight = self._terms(x), self._given.weight
        eta, tau = self._jacobians(x)
        pulled = eta.T @ (weight * terms.by_eta) + tau.T @ (weight * terms.by_tau)
        return np.asarray(self._precision * (x - self.mean) - pulled)

    def curvature(self, x: Floats) -> Floats:
        """Returns the matrix of second derivatives, the observed information, (n + 3A, n + 3A).

        η is bilinear in scores and skills, so to the usual J'WJ comes its own second derivative.
        """
        terms, weight = self._terms(x), self._given.weight
        eta, tau = self._jacobians(x)
        mixed = eta.T @ _rows(weight * terms.by_eta_tau, tau)
        scores, skills = self._score_differences(), self._of_annotator(1)
        bilinear = scores.T @ _rows(weight * terms.by_eta, skills)
        total = eta.T @ _rows(weight * terms.by_eta_eta, eta)
        total += tau.T @ _rows(weight * terms.by_tau_tau, tau)
        total += mixed + mixed.T + bilinear + bilinear.T
        return np.asarray(np.diag(self._precision) - total.todense())

    def _terms(self, x: Floats) -> Terms:
        given = self._given
        scores, skills, biases, ties = np.split(x, self._ends)
        lead = scores[given.left] - scores[given.right]
        eta = skills[given.annotator] * lead + biases[given.annotator]
        return outcome_terms(eta, ties[given.annotator], given.outcome)

    def _jacobians(self, x: Floats) -> tuple[sparse.csr_array, sparse.csr_array]:
        """Returns ∂η/∂x and ∂τ/∂x, each (N, n + 3A)."""
        given = self._given
        scores, skills, _, _ = np.split(x, self._ends)
        lead = scores[given.left] - scores[given.right]
        eta = _rows(skills[given.annotator], self._score_differences())
        eta += _rows(lead, self._of_annotator(1)) + self._of_annotator(2)
        return eta, self._of_annotator(3)

    def _score_differences(self) -> sparse.csr_array:
        """Returns the matrix that makes s_left − s_right of x, (N, n + 3A)."""
        return self._entries(self._given.left) - self._entries(self._given.right)

    def _of_annotator(self, part: int) -> sparse.csr_array:
        """Returns the matrix that picks one of the annotator's parameters from x, (N, n + 3A)."""
        return self._entries(self._ends[part - 1] + self._given.annotator)

    def _entries(self, columns: Indices) -> sparse.csr_array:
        rows = np.arange(len(columns))
        shape = (len(columns), len(self.mean))
        return sparse.csr_array((np.ones(len(columns)), (rows, columns)), shape=shape)


def _rows(factors: Floats, matrix: sparse.csr_array) -> sparse.csr_array:
    """Returns the matrix with each row multiplied by its factor."""
    return sparse.diags_array(factors) @ matrix


def _in_units(given: Comparisons, x: Floats, covariance: Floats) -> BradleyTerry:
    """Gives scores their zero and their unit; errors follow by the delta method."""
    n, count = given.item_count, given.annotator_count
    sets = _connected(given)
    centre = np.eye(n) - (sets[:, None] == sets) / np.bincount(sets)[sets]
    scores, (skills, biases, ties) = centre @ x[:n], x[n:].reshape(3, count)
    unit, by_skill = _median(skills)
    change = np.eye(len(x))
    change[:n, :n] = unit * centre
    change[:n, n : n + count] = np.outer(scores, by_skill)
    change[n : n + count, n : n + count] = (
        np.eye(count) - np.outer(skills, by_skill) / unit
    ) / unit
    covariance = change @ covariance @ change.T
    errors = np.sqrt(np.maximum(np.diag(covariance)[n:].reshape(3, count), 0.0))
    return BradleyTerry(
        unit * scores, covariance[:n, :n], sets, skills / unit, errors[0], biases, errors[1], ties,
        errors[2],
    )  # fmt: skip


def _median(skills: Floats) -> tuple[float, Floats]:
    """Returns the median skill, at least `LEAST_UNIT`, and its derivative by every skill, (A,)."""
    order, count = np.argsort(skills, kind="stable"), len(skills)
    middle = np.unique(order[[(count - 1) // 2, count // 2]])
    median = float(skills[middle].mean())
    slope = np.zeros(count)
    if median > LEAST_UNIT:
        slope[middle] = 1 / len(middle)
    return max(median, LEAST_UNIT), slope


def _connected(given: Comparisons) -> Indices:
    """Returns of every text the number of the set that comparisons connect it with, (n,)."""
    shape = (given.item_count, given.item_count)
    pairs = sparse.coo_array((np.ones(len(given.left)), (given.left, given.right)), shape=shape)
    _, sets = connected_components(pairs, directed=False)
    return np.asarray(sets, dtype=np.int64)
