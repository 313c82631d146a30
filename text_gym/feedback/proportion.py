"""Intervals of a share: of right answers, of agreement, of one side.

Knows nothing of what is counted.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    """Holds an estimate and the ends of its confidence interval."""

    value: float
    low: float
    high: float


def wilson(successes: float, trials: float, confidence: float = 0.95) -> Interval:
    """Returns the share of successes with Wilson's score interval, nowhere outside [0, 1].

    With p the share and z the normal quantile of (1 + confidence)/2, the ends are

        (p + z²/2n ± z·√(p(1 − p)/n + z²/4n²)) / (1 + z²/n).

    Without trials everything is possible: the share is then NaN.

    Args:
        successes: From 0 to `trials`; a sum of weights may be used.
        trials: At least 0.
        confidence: In (0, 1).

    Raises:
        ValueError: If one of them is out of bounds.

    Source: Wilson, 1927, Journal of the American Statistical Association 22(158).

    Example:
        >>> share = wilson(8, 10)
        >>> share.value, round(share.low, 3), round(share.high, 3)
        (0.8, 0.49, 0.943)
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be from 0 to trials, got {successes} of {trials}")
    z = normal_quantile(confidence)
    if trials == 0:
        return Interval(math.nan, 0.0, 1.0)
    share, squared = successes / trials, z * z / trials
    middle = share + squared / 2
    half = z * math.sqrt(share * (1 - share) / trials + squared / (4 * trials))
    low, high = (middle - half) / (1 + squared), (middle + half) / (1 + squared)
    return Interval(share, max(0.0, low), min(1.0, high))


def normal_quantile(confidence: float) -> float:
    """Returns z such that a standard normal lies in ±z with the given probability.

    Raises:
        ValueError: If the confidence is not in (0, 1).

    Example:
        >>> round(normal_quantile(0.95), 3)
        1.96
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    return NormalDist().inv_cdf((1 + confidence) / 2)
