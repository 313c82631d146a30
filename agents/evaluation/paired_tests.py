"""Whether two policies differ on the same prompts: a test of the mean difference, and of many.

The test flips signs: were the two exchangeable at every prompt, each difference could as well have
been its negative. It is exact for any distribution, and about the mean, which is what is reported.
(Wilcoxon's test is about ranks and leaves out differences of 0, of which replies that a reward
cannot tell apart make many.) Knows neither texts nor policies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import permutation_test

RESAMPLES = 9_999
"""Draws of signs where there are too many to try them all."""


def sign_flip_p_value(differences: Sequence[float], *, seed: int = 0) -> float:
    """Returns how often signs drawn by lot lead at least as far from 0, to either side.

    All 2ⁿ signs are tried where they are at most `RESAMPLES`; else so many are drawn, and those of
    the differences as they are count as one draw more.

    Source: Fisher 1935, "The design of experiments", section 21.

    Args:
        differences: One for each prompt, at least one.
        seed: Of the draws.

    Raises:
        ValueError: If there are none.

    Example:
        >>> sign_flip_p_value([1.0, 2.0, 3.0])  # 2 of 8: all plus, and all minus
        0.25
    """
    if not len(differences):
        raise ValueError("differences must be at least one, got none")
    tested = permutation_test(
        (np.asarray(differences, dtype=np.float64),),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=500,
        rng=np.random.default_rng(seed),
    )
    return float(tested.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number: of those below α, all are right with 1 − α.

    The i-th smallest of m is multiplied by m − i + 1, and none falls below a smaller one.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    Args:
        p_values: Any number, in any order.

    Example:
        >>> [round(p, 6) for p in holm([0.04, 0.01, 0.03])]
        [0.06, 0.03, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
