"""The share of pairs of answers on one unit that are equal: plain, without a correction for chance.

Knows numbers only; equal numbers are equal answers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class PairCounts(NamedTuple):
    """Holds pairs of answers by different people on one unit, of each of A people (A,)."""

    equal: NDArray[np.float64]
    pairs: NDArray[np.float64]

    @property
    def share(self) -> NDArray[np.float64]:
        """Of each person, the share of pairs that are equal; NaN for one who met nobody. (A,)."""
        shares = np.full(len(self.pairs), np.nan)
        np.divide(self.equal, self.pairs, out=shares, where=self.pairs > 0)
        return shares

    @property
    def overall(self) -> float:
        """Of all people; NaN if nobody met anybody. A pair has two people: no one counts twice."""
        pairs = self.pairs.sum()
        return float(self.equal.sum() / pairs) if pairs else float("nan")


def pair_counts(units: ArrayLike, values: ArrayLike, annotators: ArrayLike) -> PairCounts:
    """Returns how many pairs each person is part of, and how many of them are equal.

    Args:
        units: (N,) integers: what was judged, at most once by each person.
        values: (N,) numbers: what was said.
        annotators: (N,) indices: by whom.

    Example:
        >>> counts = pair_counts([0, 0, 0, 1, 1], [1, 1, 2, 5, 5], [0, 1, 2, 0, 1])
        >>> counts.overall, counts.share
        (0.5, array([0.66666667, 0.66666667, 0.        ]))
    """
    unit, value, who = map(np.asarray, (units, values, annotators))
    unit = np.unique(unit, return_inverse=True)[1].reshape(-1)
    answers = np.unique(np.stack([unit, value], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    others = np.bincount(unit)[unit] - 1
    equal = np.bincount(answers)[answers] - 1
    return PairCounts(
        np.bincount(who, equal).astype(np.float64), np.bincount(who, others).astype(np.float64)
    )
