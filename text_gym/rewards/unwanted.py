"""Unwanted content as a penalty: words of a lexicon, which knows English and no context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.lexicon import unwanted_words
from text_gym.metrics.unwanted import has_unwanted


@dataclass(frozen=True)
class Unwanted:
    """Pays −1 for a completion that has an unwanted word, and 0 for any other.

    The words are those of `text_gym.lexicon`. Add it to another reward (`WeightedSum`) to make
    such texts dearer; to make them impossible, see `text_gym.constraints.BannedWords`.

    Raises:
        ModuleNotFoundError: If the package `better_profanity` is not installed.

    Example:
        >>> Unwanted()([Episode.from_text("Hi", text) for text in ("Damn you", "Hello")])
        array([-1.,  0.])
    """

    def __post_init__(self) -> None:
        unwanted_words()

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns −1 or 0 for each episode, shape (n,)."""
        found = has_unwanted([episode.completion for episode in episodes])
        return np.where(np.array(found, dtype=np.bool_), -1.0, 0.0)
