"""How a policy's rewards are distributed, and what the best trade of reward for KL makes of them.

The soft-optimal policy depends on completions only through their rewards, and so does the best of
n draws: both are functions of the distribution of the reward under the reference. Knows no tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from text_gym.exact.recursion import expectation, log_mean_exp


class RewardDistribution(NamedTuple):
    """Holds the K distinct rewards that have a probability.

    Attributes:
        rewards: Ascending, (K,).
        log_probs: The log-probability of each, (K,).
    """

    rewards: NDArray[np.float64]
    log_probs: NDArray[np.float64]


class Frontier(NamedTuple):
    """Holds points of the reward-KL frontier: no policy has more reward at the same KL.

    Attributes:
        betas: The prices of KL, in reward per nat, (N,).
        values: The highest E[R] − β·KL, (N,).
        expected_rewards: Its E[R], (N,).
        kls: Its KL to the reference, in nats per completion, (N,).
    """

    betas: NDArray[np.float64]
    values: NDArray[np.float64]
    expected_rewards: NDArray[np.float64]
    kls: NDArray[np.float64]


def reward_distribution(
    rewards: NDArray[np.float64], log_probs: NDArray[np.float64]
) -> RewardDistribution:
    """Gathers completions of equal reward.

    Args:
        rewards: Of n completions, (n,).
        log_probs: Of the same, (n,); those of −∞ are left out.

    Example:
        >>> found = reward_distribution(np.array([1.0, 0.0, 1.0]), np.log([0.25, 0.5, 0.25]))
        >>> found.rewards, np.exp(found.log_probs)
        (array([0., 1.]), array([0.5, 0.5]))
    """
    possible = log_probs > -np.inf
    rewards, log_probs = rewards[possible], log_probs[possible]
    order = np.argsort(rewards, kind="stable")
    levels, firsts = np.unique(rewards[order], return_index=True)
    return RewardDistribution(levels, np.logaddexp.reduceat(log_probs[order], firsts))


def frontier(distribution: RewardDistribution, betas: ArrayLike) -> Frontier:
    """Returns the best that can be had at each price of KL.

    With the reference's π₀(r), the value is β·log Σ π₀(r)·exp(r/β), reached by
    π*(r) ∝ π₀(r)·exp(r/β). It falls from the highest reward (β → 0, where the KL is −log of that
    reward's probability) to the reference's expected reward (β → ∞, where the KL is 0).

    Args:
        distribution: Of the reward under the reference.
        betas: Prices β, above 0, in any order, (N,).

    Raises:
        ValueError: If a β is not above 0 and finite.

    Example:
        >>> even = RewardDistribution(np.array([0.0, 1.0]), np.log([0.5, 0.5]))
        >>> frontier(even, [0.5]).values.round(4)  # 0.5·log((1 + e²)/2)
        array([0.7169])
    """
    betas = np.atleast_1d(np.asarray(betas, dtype=np.float64))
    wrong = betas[~(np.isfinite(betas) & (betas > 0))]
    if wrong.size:
        raise ValueError(f"betas must be above 0 and finite, got {wrong.tolist()}")
    highest = distribution.rewards[-1]
    values, expected_rewards, kls = (np.empty(len(betas)) for _ in range(3))
    for index, beta in enumerate(betas):
        with np.errstate(over="ignore"):  # exp(−∞) = 0 is meant
            exponents = (distribution.rewards - highest) / beta
        log_total = log_mean_exp(distribution.log_probs, exponents)
        log_tilted = distribution.log_probs + exponents - log_total
        tilted = np.exp(log_tilted)
        values[index] = highest + beta * log_total
        expected_rewards[index] = tilted @ distribution.rewards
        kls[index] = expectation(tilted, log_tilted - distribution.log_probs)
    return Frontier(betas, values, expected_rewards, kls)
