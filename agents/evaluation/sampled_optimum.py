"""The optimum of E[R] − β·KL, estimated from texts of the reference, where nobody can enumerate.

For each prompt the optimum is β·log E₀[exp(R/β)], estimated by the mean over N texts. That estimate
is low on the average, by Jensen's inequality, and by more the fewer texts carry its weight: their
number is the effective sample size, (Σ w)² / Σ w². Knows scores, not where they come from.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.intervals import Interval as MeanInterval
from agents.evaluation.intervals import mean_interval
from text_gym.feedback.proportion import Interval

Scores = NDArray[np.float64]
"""Of N texts of the reference to each of P prompts, (P, N), unless it is said otherwise."""

TRUSTED = 10
"""Texts that must carry the weight of a prompt's estimate, or it is not to be trusted."""


class Optimum(NamedTuple):
    """Holds what the best policy would reach, a mean over prompts.

    Attributes:
        objective: E[R] − β·KL, with its 95 % interval, a bootstrap over prompts and texts.
        expected_reward: E[R] under that policy.
        kl: Of that policy from the reference, in nats per text.
        effective: Effective sample size of each prompt's estimate, (P,).
    """

    objective: Interval
    expected_reward: float
    kl: float
    effective: NDArray[np.float64]

    @property
    def doubtful(self) -> int:
        """Prompts whose estimate rests on fewer than `TRUSTED` texts."""
        return int((self.effective < TRUSTED).sum())


def soft_values(scores: Scores, beta: float) -> NDArray[np.float64]:
    """Returns β·log mean exp(R/β) along the last axis.

    Example:
        >>> soft_values(np.array([[0.0, 1.0]]), beta=1.0).round(4)
        array([0.6201])
    """
    largest = scores.max(axis=-1, keepdims=True)
    means = np.exp((scores - largest) / beta).mean(axis=-1)
    return np.asarray(largest[..., 0] + beta * np.log(means))


def optimum(scores: Scores, beta: float, *, draws: int = 1000, seed: int = 0) -> Optimum:
    """Returns the estimate of what can be reached at a price β of a nat."""
    values = soft_values(scores, beta)
    weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / beta)
    shares = weights / weights.sum(axis=1, keepdims=True)
    rewards = (shares * scores).sum(axis=1)
    low, high = np.quantile(_bootstrap(scores, beta, draws, seed), [0.025, 0.975])
    return Optimum(
        objective=Interval(float(values.mean()), float(low), float(high)),
        expected_reward=float(rewards.mean()),
        kl=float((rewards - values).mean() / beta),
        effective=1 / (shares**2).sum(axis=1),
    )


def regret(best: Scores, objectives: Scores, starts: Scores) -> MeanInterval:
    """Returns the share of what the best policy gains on the reference that another one does not.

    With means over prompts, r = (J* − J)/(J* − J₀). The interval is that of the mean of
    (J* − J) − r (J* − J₀) over prompts, divided by J* − J₀ (Cochran 1977, "Sampling Techniques",
    section 6.5).

    Args:
        best: J*, the soft value of each prompt, (P,).
        objectives: J, what the policy reached at each, (P,).
        starts: J₀, what the reference reaches at each, (P,).

    Returns:
        NaN where the best policy gains nothing.

    Example:
        >>> regret(np.array([1.0, 3.0]), np.array([0.5, 2.5]), np.array([0.0, 2.0]))
        Interval(mean=0.5, half_width=0.0)
    """
    lost, left = best - objectives, best - starts
    if not left.mean() > 0:
        return MeanInterval(math.nan, math.nan)
    share = float(lost.mean() / left.mean())
    residuals = (lost - share * left) / left.mean()
    return MeanInterval(share, mean_interval(residuals.tolist()).half_width)


def _bootstrap(scores: Scores, beta: float, draws: int, seed: int) -> NDArray[np.float64]:
    """Returns the mean optimum of prompts, and texts of each, drawn with replacement, (draws,)."""
    np_random = np.random.default_rng(seed)
    n_prompts, n_texts = scores.shape
    found = np.empty(draws)
    for draw in range(draws):
        prompts = np_random.integers(n_prompts, size=(n_prompts, 1))
        texts = np_random.integers(n_texts, size=scores.shape)
        found[draw] = soft_values(scores[prompts, texts], beta).mean()
    return found


def best_of(scores: Scores, n: int) -> float:
    """Returns the mean reward of the best of n texts, without bias.

    The i-th smallest of N scores is the largest of n drawn without replacement with probability
    C(i−1, n−1) / C(N, n).

    Example:
        >>> best_of(np.array([[0.0, 1.0, 2.0]]), 2)  # the pairs have maxima 1, 2 and 2
        1.6666666666666667
    """
    n_texts = scores.shape[1]
    ranks = np.arange(n_texts)
    # P(the largest has rank ≤ i) = Π_{j<n} (i + 1 − j) / (N − j)
    steps = (ranks[:, None] + 1 - np.arange(n)) / (n_texts - np.arange(n))
    probabilities = np.diff(np.clip(steps, 0, None).prod(axis=1), prepend=0.0)
    return float((np.sort(scores, axis=1) @ probabilities).mean())


def kl_of_best_of(n: int) -> float:
    """Returns the most KL that the best of n can have, ln n − (n−1)/n (arXiv:2401.01879)."""
    return float(np.log(n) - (n - 1) / n)
