"""Which pairs are judged next: any, or those on which reward models disagree most.

Knows rewards as numbers, and nothing of texts, models or annotators.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def disagreement(rewards: Floats) -> Floats:
    """Returns by how much K reward models disagree on which of two texts is better, (n,).

    The standard deviation over the models of σ(r(first) − r(second)), the probability that the
    first one is preferred: models that are all sure of the same do not disagree, however different
    their rewards.

    Source: Christiano et al. 2017, arXiv:1706.03741, section 2.2.4.

    Args:
        rewards: (K, n, 2), of both texts of each pair.

    Raises:
        ValueError: If there are fewer than two models.

    Example:
        >>> disagreement(np.array([[[9.0, 0.0], [2.0, 0.0]], [[9.0, 0.0], [0.0, 2.0]]])).round(2)
        array([0.  , 0.38])
    """
    if rewards.ndim != 3 or rewards.shape[0] < 2 or rewards.shape[2] != 2:
        raise ValueError(f"rewards must be (K, n, 2) of two models or more, got {rewards.shape}")
    differences = rewards[..., 0] - rewards[..., 1]
    preferred = 1 / (1 + np.exp(-differences))
    spread: Floats = preferred.std(axis=0)
    return spread


def most_disagreed(rewards: Floats, count: int) -> NDArray[np.intp]:
    """Returns the places of the pairs on which models disagree most, in their order.

    Args:
        rewards: (K, n, 2), of both texts of each pair.
        count: How many; all if there are fewer.
    """
    order = np.argsort(-disagreement(rewards), kind="stable")
    return np.sort(order[:count])


def at_random(n: int, count: int, seed: int) -> NDArray[np.intp]:
    """Returns the places of some of n pairs, drawn by lot, in their order.

    Args:
        n: How many there are.
        count: How many; all if there are fewer.
        seed: Of the lot.
    """
    return np.sort(np.random.default_rng(seed).permutation(n)[:count])
