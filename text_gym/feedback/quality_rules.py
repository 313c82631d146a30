"""Rules that stop somebody's judging: too fast, one side only, wrong where the answer is known.

Each rule reads what one annotator did, as plain numbers in the order of time, and returns the
reason why it stops, or None. A rule that judges a share stops only if the share is below its limit
beyond doubt: its interval at the stated confidence lies below. Knows nothing of rows, of the store,
of what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Literal, NamedTuple

from text_gym.feedback.proportion import Interval, wilson

Rule = Literal["too fast", "one side", "known answers", "repeats", "skill", "side bias"]


class Reason(NamedTuple):
    """Holds why somebody is stopped."""

    rule: Rule
    value: float
    """What was found."""
    limit: float
    """What it should not have passed."""


def too_fast(
    seconds: Sequence[float],
    words: Sequence[int],
    *,
    least_seconds: float,
    seconds_per_word: float,
    count: int,
    window: int,
) -> Reason | None:
    """Stops at `count` answers too fast among the last `window`; the value is their number.

    Args:
        seconds: From the moment an item was shown to its answer.
        words: How many words were on the screen.
        least_seconds: Nobody answers faster than that,
        seconds_per_word: and that for every word.
        count: Of answers too fast.
        window: Of answers that are looked at.

    Example:
        >>> too_fast([0.2, 9.0, 1.0], [20, 20, 100],
        ...     least_seconds=0.5, seconds_per_word=0.03, count=2, window=10)
        Reason(rule='too fast', value=2, limit=2)
    """
    latest = list(zip(seconds, words, strict=True))[-window:]
    fast = sum(took < least_seconds + seconds_per_word * length for took, length in latest)
    return Reason("too fast", fast, count) if fast >= count else None


def one_side(preferred: Sequence[Literal[-1, 0, 1]], *, run: int) -> Reason | None:
    """Stops at `run` preferences for one side in a row; ties neither break a run nor add to it.

    Sides are drawn by lot, so whoever looks at the texts alone has n chances in 2^(run − 1), at
    most, to be stopped wrongly within n answers.

    Args:
        preferred: 1 for the left, −1 for the right, 0 for neither.
        run: Length of a run.

    Example:
        >>> one_side([1, -1, -1, 0, -1], run=3)
        Reason(rule='one side', value=3, limit=3)
    """
    runs = groupby(side for side in preferred if side)
    longest = max((len(list(same)) for _, same in runs), default=0)
    return Reason("one side", longest, run) if longest >= run else None


def known_answers(right: Sequence[bool], *, least: float, confidence: float) -> Reason | None:
    """Stops if the share of known answers that were right is below `least` beyond doubt.

    Args:
        right: Of each item whose answer is known, whether it was given.
        least: Share that must be right.
        confidence: Of Wilson's interval, which has to lie below.

    Example:
        >>> known_answers([False, False, True, False, False], least=0.7, confidence=0.95)
        Reason(rule='known answers', value=0.2, limit=0.7)
    """
    return _below("known answers", wilson(sum(right), len(right), confidence), least)


def repeats(same: Sequence[bool], *, least: float, confidence: float) -> Reason | None:
    """Stops if the share of repeated items that were answered as before is below `least`.

    Args:
        same: Of each item that was shown again, whether the answer was the same; sides are swapped,
            answers name texts.
        least: Share that must be the same.
        confidence: Of Wilson's interval, which has to lie below.
    """
    return _below("repeats", wilson(sum(same), len(same), confidence), least)


def _below(rule: Rule, share: Interval, least: float) -> Reason | None:
    return Reason(rule, share.value, least) if share.high < least else None
