"""How good each text is, from ratings by people who use the scale differently.

The model is additive: annotator a gives text i the rating

    y = m_i + o_a + ε,   ε of mean 0 and one variance for all,

with m the mean of the text and o how generous the annotator is. Least squares, with one rating at
offset 0 added to each annotator: whoever rated little is taken at their word. Texts are not shrunk.
Offsets have mean 0, as far as the ratings tell. Knows indices only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from text_gym.feedback.aggregation.comparisons import Floats


class RatingMeans(NamedTuple):
    """Holds what N ratings say of n texts and A annotators."""

    means: Floats
    """(n,) on the scale of the ratings; NaN for a text without any."""
    errors: Floats
    """(n,) standard errors; NaN where there are no more ratings than there are unknowns."""
    offsets: Floats
    """(A,): by how much an annotator rates above the others."""
    residual_sd: float
    """Of one rating about what the model says."""


def rating_means(ratings: ArrayLike, item: ArrayLike, annotator: ArrayLike) -> RatingMeans:
    """Returns the mean of every text, freed of who happened to rate it.

    Args:
        ratings: (N,), at least one.
        item: (N,) indices of what was rated.
        annotator: (N,) indices of who rated.

    Raises:
        ValueError: If there are no ratings.

    Example:
        >>> found = rating_means([1, 3, 2, 4] * 9, [0, 1, 0, 1] * 9, [0, 0, 1, 1] * 9)
        >>> found.means.round(2), found.offsets.round(2)
        (array([1.5, 3.5]), array([-0.47,  0.47]))
    """
    values = np.asarray(ratings, dtype=np.float64)
    rated, who = np.asarray(item, dtype=np.int64), np.asarray(annotator, dtype=np.int64)
    if not len(values):
        raise ValueError("ratings must hold at least one rating, got none")
    n, count, rows = rated.max() + 1, who.max() + 1, np.arange(len(values))
    design = np.zeros((len(values), n + count))
    design[rows, rated] = design[rows, n + who] = 1.0
    normal = design.T @ design + np.diag(np.repeat([0.0, 1.0], [n, count]))
    solved = np.linalg.pinv(normal, hermitian=True)
    found = solved @ design.T @ values
    freedom = len(values) - len(np.unique(rated)) - len(np.unique(who)) + 1
    squares = float(((values - design @ found) ** 2).sum())
    residual_sd = np.sqrt(squares / freedom) if freedom > 0 else np.nan
    errors = residual_sd * np.sqrt(np.maximum(np.diag(solved)[:n], 0.0))
    seen = np.bincount(rated, minlength=n) > 0
    return RatingMeans(
        np.where(seen, found[:n], np.nan), np.where(seen, errors, np.nan), found[n:], residual_sd
    )
