"""The number of words as a reward; what a word is stands in `text_gym.words`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.words import split_words


def count_words(text: str) -> int:
    """Counts the words of a text in any script.

    A word is a maximal run of letters and digits with inner apostrophes or hyphens; each Chinese
    character, Hiragana and Katakana is one; Korean is split at spaces, and so is Thai, where that
    counts phrases. Punctuation and emoji count nothing.

    Example:
        >>> count_words("Don't panic, it's half-past 3!")
        5
        >>> count_words("私はネコです。"), count_words("안녕하세요 세계"), count_words("🙂 ...")
        (6, 2, 0)
    """
    return len(split_words(text))


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
