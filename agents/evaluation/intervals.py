"""Means with their 95 % confidence intervals.

Knows neither texts nor policies. An interval is Student's t: exact for values that are drawn
independently from one normal distribution, and close to it for many values of almost any.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

_QUANTILE = 0.975
"""Leaves 2.5 % on either side."""


class Interval(NamedTuple):
    """Holds a mean and how well it is known.

    Attributes:
        mean: Of the values.
        half_width: Half of the 95 % confidence interval around it; NaN for a single value.
    """

    mean: float
    half_width: float


def mean_interval(values: Sequence[float]) -> Interval:
    """Estimates a mean: x̄ ± t s/√n, t being the 97.5 % quantile with n - 1 degrees of freedom.

    The variance s² has n - 1 in its denominator.

    Source: Student 1908, "The probable error of a mean".

    Args:
        values: At least one.

    Raises:
        ValueError: If there are none.

    Example:
        >>> mean_interval([1.0, 2.0, 6.0])  # s = √7, t = 4.303
        Interval(mean=3.0, half_width=6.5724...)
    """
    if not len(values):
        raise ValueError("values must be at least one, got none")
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Interval(mean, math.nan)
    spread = float(np.std(values, ddof=1))
    return Interval(mean, float(stdtrit(n - 1, _QUANTILE)) * spread / math.sqrt(n))
