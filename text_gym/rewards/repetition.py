"""Repetition as a reward: how many n-grams of a completion are distinct.

It looks at one completion at a time and does not know what the others of its batch say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.metrics.distinct import distinct_n, require_order


@dataclass(frozen=True)
class DistinctNgrams:
    """Rewards a completion with its distinct n-grams over all its n-grams, in (0, 1].

    This is `text_gym.metrics.distinct_n` of one text.

    A completion of fewer than n words has no n-gram and hence no repetition: it earns 1. Add a
    reward of length if short texts should not be the best.

    Args:
        n: Words per n-gram, at least 1.

    Raises:
        ValueError: If `n` is not an integer of at least 1.

    Example:
        >>> DistinctNgrams(2)([Episode.from_text("Hi", "The cat and the cat"), Episode.from_text()])
        array([0.75, 1.  ])
    """

    n: int = 2

    def __post_init__(self) -> None:
        require_order(self.n)

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the distinct shares, shape (n_episodes,)."""
        shares = [distinct_n([one.completion], self.n, without=1.0) for one in episodes]
        return np.array(shares, dtype=np.float64)
