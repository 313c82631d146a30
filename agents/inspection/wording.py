"""Which words and phrases replies have more often than before, and which less often.

Knows texts; who wrote them, and what they were paid, is not known here. A reply counts once for a
phrase, however often it has it: replies are independent, words of a reply are not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from text_gym.words import fold, split_words

LONGEST = 3
"""Words of a phrase."""
FEWEST = 5
"""Replies, before and after together, that have a phrase which is compared."""
PRIOR = 10.0
"""Replies that the prior is worth: they have each phrase as often as all replies together do."""
CONFIDENCE = 0.95
"""That none of the intervals of a comparison misses its truth."""


class Shift(NamedTuple):
    """Says how much oftener a phrase is written.

    Attributes:
        phrase: Its words.
        before: Replies that have it.
        after: Replies that have it.
        log_odds: Of having it, after less before.
        half_width: Half of its interval, widened for the number of phrases that are compared.
    """

    phrase: str
    before: int
    after: int
    log_odds: float
    half_width: float

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves out 0."""
        return abs(self.log_odds) > self.half_width


def phrases(text: str) -> set[str]:
    """Returns the words and the phrases of up to `LONGEST` words of a text, whatever their case.

    Example:
        >>> sorted(phrases("So good!"))
        ['good', 'so', 'so good']
    """
    words = split_words(fold(text))
    return {
        " ".join(words[start : start + size])
        for size in range(1, LONGEST + 1)
        for start in range(len(words) - size + 1)
    }


def shifts(before: Sequence[str], after: Sequence[str]) -> list[Shift]:
    """Compares how often phrases are had, by log-odds with an informative prior.

    With y of n replies and the prior's a with and b without it, the log-odds of one side are
    log((y + a)/(n − y + b)), and the variance of a difference is close to 1/(y₁ + a) + 1/(y₂ + a):
    a phrase that few replies have is drawn towards no difference.

    Source: Monroe, Colaresi and Quinn 2008, "Fightin' words", Political Analysis 16(4).

    Args:
        before: Replies, at least one.
        after: As many, or not.

    Returns:
        From the surest fall to the surest rise.

    Raises:
        ValueError: If there are none on a side.
    """
    if not before or not after:
        raise ValueError(f"before and after must be texts, got {len(before)} and {len(after)}")
    old, new = (Counter(one for text in side for one in phrases(text)) for side in (before, after))
    compared = [one for one, count in (old + new).items() if count >= FEWEST]
    quantile = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (2 * max(1, len(compared))))
    found = [_shift(one, old[one], new[one], len(before), len(after), quantile) for one in compared]
    return sorted(found, key=_sureness)


def _sureness(shift: Shift) -> tuple[float, int, str]:
    """Returns how sure a rise is; among equals, the longer phrase says more."""
    return shift.log_odds / shift.half_width, len(shift.phrase.split()), shift.phrase


def _shift(
    phrase: str, before: int, after: int, n_before: int, n_after: int, quantile: float
) -> Shift:
    share = (before + after) / (n_before + n_after)
    having, lacking = PRIOR * share, PRIOR * (1 - share)

    def log_odds(count: int, n: int) -> float:
        return math.log((count + having) / (n - count + lacking)) if lacking else 0.0

    difference = log_odds(after, n_after) - log_odds(before, n_before)
    deviation = math.sqrt(1 / (before + having) + 1 / (after + having))
    return Shift(phrase, before, after, difference, quantile * deviation)
