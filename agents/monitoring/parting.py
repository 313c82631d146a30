"""Whether what is paid and what was meant part: a test that may be asked again and again.

Late looks need small p-values, which a test that draws signs by lot could not give. Knows numbers
of texts, and neither policies nor what the numbers measure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr

ERROR_RATE = 0.05
"""Of a false alarm, in all looks of a training together."""


def level_of(look: int) -> float:
    """Returns the level of one look, from 1 on: α / (k (k + 1)).

    Over all looks the levels add up to α = `ERROR_RATE`, however long it goes on, and by
    Bonferroni's inequality so do the chances of a false alarm, whatever hangs together.

    Example:
        >>> round(sum(level_of(look) for look in range(1, 100_000)), 4)
        0.05
    """
    return ERROR_RATE / (look * (look + 1))


def p_of_rise(before: Sequence[float], after: Sequence[float]) -> float:
    """Returns Student's one-sided p-value that the mean has not risen, of paired values.

    Exact for differences that are independent and normal, close for many of almost any.

    Args:
        before: At least two.
        after: Of the same, in the same order.

    Raises:
        ValueError: If they are not equally many, or fewer than two.

    Example:
        >>> p_of_rise([0.0, 0.0, 0.0], [1.0, 2.0, 3.0])  # t = 2 / (1 / √3) = 3.464 with 2 degrees
        0.0370...
    """
    if len(before) != len(after) or len(before) < 2:
        raise ValueError(
            f"before and after must be of the same two texts or more, got {len(before)} and "
            f"{len(after)}"
        )
    difference = np.subtract(after, before)
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    if spread == 0:
        return 0.0 if mean > 0 else 1.0
    return float(stdtr(len(difference) - 1, -mean / spread * math.sqrt(len(difference))))


def p_of_parting(
    proxy: tuple[Sequence[float], Sequence[float]],
    measure: tuple[Sequence[float], Sequence[float]],
) -> float:
    """Returns the p-value that the proxy has not risen, or the measure not fallen.

    The larger of the two p-values: an intersection–union test (Berger 1982, "Multiparameter
    hypothesis testing and acceptance sampling"), whose level is that of each alone.

    Args:
        proxy: What is paid for each text, before and after.
        measure: What it is worth by other lights, before and after.
    """
    fallen = p_of_rise(measure[1], measure[0])
    return max(p_of_rise(*proxy), fallen)
