"""Nearness to the expected text as a reward: chrF of one sentence.

It counts characters; which words or sentences they make it does not know, nor what they mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.quoting import quoted


@dataclass(frozen=True)
class ChrF:
    """Rewards a completion with its chrF against the episode's reference, in [0, 1].

    The F score of character n-grams, precision and recall each averaged over the orders that both
    texts are long enough for: (1 + β²)·P·R / (β²·P + R). White space does not count. Source:
    Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation", WMT,
    https://aclanthology.org/W15-3049; with the defaults, a hundredth of what sacreBLEU's
    `sentence_chrf` gives, to the last digit.

    Args:
        order: Longest n-gram, in characters, at least 1.
        beta: How many times recall counts as much as precision, positive.

    Raises:
        ValueError: If one is not, or, when called, if an episode has no reference.

    Example:
        >>> texts = ["the red house", "a red horse", "el cielo"]
        >>> reward = ChrF()
        >>> reward([Episode.from_text("?", text, reference="the red house") for text in texts])
        array([1.        , 0.32419387, 0.04901961])
    """

    order: int = 6
    beta: float = 2.0

    def __post_init__(self) -> None:
        if self.order < 1:
            raise ValueError(f"order must be at least 1, got {self.order}")
        if not self.beta > 0:
            raise ValueError(f"beta must be positive, got {self.beta}")

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the scores, shape (n,)."""
        return np.array([self._score(episode) for episode in episodes], dtype=np.float64)

    def _score(self, episode: Episode) -> float:
        if episode.reference is None:
            raise ValueError(
                f"reference must be given with every prompt that ChrF scores, received None for "
                f"the prompt {quoted(episode.prompt)}"
            )
        ours = _ngrams(episode.completion, self.order)
        theirs = _ngrams(episode.reference, self.order)
        return f_score(ours, theirs, self.beta)


def f_score(ours: Sequence[Counter[str]], theirs: Sequence[Counter[str]], beta: float) -> float:
    """Computes the F score of n-grams, one counter for each order.

    Args:
        ours: Of the text that is judged.
        theirs: Of the text that is expected.
        beta: How many times recall counts as much as precision.
    """
    orders = [(a, b) for a, b in zip(ours, theirs, strict=True) if a and b]
    if not orders:
        return 0.0
    matches = [sum(min(n, b[gram]) for gram, n in a.items() if gram in b) for a, b in orders]
    counted = list(zip(matches, orders, strict=True))
    precision = sum(match / a.total() for match, (a, _) in counted) / len(orders)
    recall = sum(match / b.total() for match, (_, b) in counted) / len(orders)
    if precision + recall == 0:
        return 0.0
    factor = beta**2
    return (1 + factor) * precision * recall / (factor * precision + recall)


# The texts of a group share their reference.
@lru_cache(maxsize=4096)
def _ngrams(text: str, order: int) -> tuple[Counter[str], ...]:
    line = "".join(text.split())
    return tuple(
        Counter(line[at : at + n] for at in range(len(line) - n + 1)) for n in range(1, order + 1)
    )
