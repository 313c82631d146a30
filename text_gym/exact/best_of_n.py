"""Best-of-n sampling, exactly: draw n completions, keep one of the highest reward.

Among equal rewards the first drawn is kept; since the draws are independent, choosing among them
at random gives the same distribution. Rewards are equal if they are equal floats. Knows no tokens.

Source of the bound: Beirami et al. 2024, "Theoretical guarantees on the best-of-n alignment
policy", arXiv:2401.01879.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from text_gym.exact.recursion import expectation
from text_gym.exact.reward_distribution import RewardDistribution


class BestOfN(NamedTuple):
    """Holds what the best of n draws is like.

    Attributes:
        n: Number of draws.
        expected_reward: E[R] of the one that is kept.
        kl: Its KL to the distribution drawn from, in nats per completion.
        kl_bound: log n − (n − 1)/n, which the KL does not exceed, and reaches only if no two draws
            can be equal in reward.
    """

    n: int
    expected_reward: float
    kl: float
    kl_bound: float


def best_of_n(distribution: RewardDistribution, n: int) -> BestOfN:
    """Returns reward and KL of the best of n draws.

    Args:
        distribution: Of the reward of one draw.
        n: At least 1.

    Raises:
        ValueError: If n is below 1.

    Example:
        >>> even = RewardDistribution(np.array([0.0, 1.0]), np.log([0.5, 0.5]))
        >>> best = best_of_n(even, 2)  # the worse is kept with probability 1/4
        >>> best.expected_reward, round(best.kl, 4), round(best.kl_bound, 4)
        (0.75, 0.1308, 0.1931)
    """
    log_best = log_best_probs(distribution, n)
    best = np.exp(log_best)
    return BestOfN(
        n=n,
        expected_reward=float(best @ distribution.rewards),
        kl=float(expectation(best, log_best - distribution.log_probs)),
        kl_bound=math.log(n) - (n - 1) / n,
    )


def log_best_probs(distribution: RewardDistribution, n: int) -> NDArray[np.float64]:
    """Returns the log-probability that the best of n draws has each reward, (K,).

    With F the cumulative distribution, that is F(r)ⁿ − F(r')ⁿ, r' the next lower reward; computed
    as F(r)ⁿ·(1 − (1 − π₀(r)/F(r))ⁿ), so that no small probability is lost.

    Raises:
        ValueError: If n is below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    log_cumulative = np.logaddexp.accumulate(distribution.log_probs)
    log_cumulative -= log_cumulative[-1]  # which rounding leaves near 0, and n would magnify
    with np.errstate(divide="ignore"):  # log 0 = −∞ is meant
        log_rest = np.log1p(-np.minimum(np.exp(distribution.log_probs - log_cumulative), 1.0))
        return np.asarray(n * log_cumulative + np.log(-np.expm1(n * log_rest)))
