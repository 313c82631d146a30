"""The number of words as a reward; what a word is stands in `text_gym.words`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.words import count_words


@dataclass(frozen=True)
class WordCount:
    """Rewards a completion with its number of words.

    Example:
        >>> WordCount()([Episode.from_text("Hi", "Hello, my friend."), Episode.from_text("Hi")])
        array([3., 0.])
    """

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the word counts, shape (n,)."""
        return np.array([count_words(episode.completion) for episode in episodes], dtype=np.float64)
