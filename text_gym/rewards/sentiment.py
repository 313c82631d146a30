"""Positive sentiment as a reward, by VADER's lexicon and rules.

It knows English words and common emoji; a text without any of them scores 0. Its time grows with
the square of the length: microseconds for a sentence, a second for four thousand words.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode


@dataclass(frozen=True)
class Sentiment:
    """Rewards a completion with VADER's compound score, in [-1, 1].

    Hutto and Gilbert, 2014 (https://doi.org/10.1609/icwsm.v8i1.14550). The lexicon is loaded at
    construction, once per process, and does not travel when the object is pickled.

    Raises:
        ModuleNotFoundError: If the package `vaderSentiment` is not installed.

    Example:
        >>> texts = ["I love it!", "A table.", "I hate it!"]
        >>> Sentiment()([Episode.from_text("How is it?", text) for text in texts])
        array([ 0.6696,  0.    , -0.6114])
    """

    def __post_init__(self) -> None:
        _analyzer()

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the compound scores, shape (n,)."""
        polarity = _analyzer().polarity_scores
        scores = [polarity(episode.completion)["compound"] for episode in episodes]
        return np.array(scores, dtype=np.float64)


@functools.cache
def _analyzer() -> Any:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Sentiment needs vaderSentiment, which is not installed: "
            "pip install 'text-gym[sentiment]'"
        ) from error
    return SentimentIntensityAnalyzer()
