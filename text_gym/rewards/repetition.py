"""Repetition as a reward: how many n-grams of a completion are distinct.

It looks at one completion at a time and does not know what the others of its batch say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.rewards.words import fold, split_words


@dataclass(frozen=True)
class DistinctNgrams:
    """Rewards a completion with its distinct n-grams over all its n-grams, in (0, 1].

    This is distinct-n of Li et al., 2016 (https://arxiv.org/abs/1510.03055), within one text and
    over the number of n-grams (the paper divides by the number of words). The grams are of words,
    as `text_gym.rewards.words` has them, whatever their case.

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
        if not isinstance(self.n, int) or isinstance(self.n, bool) or self.n < 1:
            raise ValueError(f"n must be an integer of at least 1, received {self.n!r}")

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the distinct shares, shape (n_episodes,)."""
        return np.array([self._share(episode.completion) for episode in episodes], dtype=np.float64)

    def _share(self, completion: str) -> float:
        words = split_words(fold(completion))
        starts = range(len(words) - self.n + 1)
        ngrams = [tuple(words[start : start + self.n]) for start in starts]
        return len(set(ngrams)) / len(ngrams) if ngrams else 1.0
