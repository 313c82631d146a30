"""How well stated confidence fits what is right: calibration, and accuracy at a coverage.

Pure functions of arrays over n answers; knows no texts and no policies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Bin(NamedTuple):
    """Answers of similar confidence."""

    confidence: float
    """Their mean."""
    accuracy: float
    """Share of them that is right."""
    size: int


def calibration_curve(confidence: ArrayLike, right: ArrayLike, n_bins: int = 10) -> list[Bin]:
    """Returns the bins of equal width in [0, 1] that hold an answer, by rising confidence.

    Args:
        confidence: Probability of being right, (n,).
        right: Whether each is, (n,).
        n_bins: How many, at least 1.

    Raises:
        ValueError: If the shapes differ, a probability is none, or `n_bins` is below 1.

    Example:
        >>> calibration_curve([0.1, 0.9, 0.95], [False, True, False], n_bins=2)
        [Bin(confidence=0.1, accuracy=0.0, size=1), Bin(confidence=0.925, accuracy=0.5, size=2)]
    """
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins}")
    sure, good = _checked(confidence, right)
    places = np.minimum((sure * n_bins).astype(int), n_bins - 1)
    return [
        Bin(float(sure[at].mean()), float(good[at].mean()), int(at.sum()))
        for place in range(n_bins)
        if (at := places == place).any()
    ]


def calibration_error(confidence: ArrayLike, right: ArrayLike, n_bins: int = 10) -> float:
    """Returns the mean distance of confidence and accuracy, over bins weighted by their answers.

    The expected calibration error of Guo et al. 2017, arXiv:1706.04599, equation 3. Without an
    answer it is NaN.

    Example:
        >>> round(calibration_error([0.1, 0.9, 0.95], [False, True, False], n_bins=2), 3)
        0.317
    """
    bins = calibration_curve(confidence, right, n_bins)
    if not bins:
        return float("nan")
    weights = [one.size for one in bins]
    return float(np.average([abs(one.confidence - one.accuracy) for one in bins], weights=weights))


def accuracy_at_coverage(confidence: ArrayLike, right: ArrayLike, coverage: float) -> float:
    """Returns the accuracy of the most confident share of the answers.

    Of answers that are equally confident at its edge, each counts for the part that fits. Without
    an answer it is NaN.

    Args:
        confidence: Of each answer, (n,).
        right: Whether each is, (n,).
        coverage: The share, above 0 and at most 1.

    Raises:
        ValueError: If it is not, or as `calibration_curve`.

    Example:
        >>> accuracy_at_coverage([0.9, 0.2, 0.8, 0.1], [True, False, True, True], 0.5)
        1.0
        >>> accuracy_at_coverage([1.0, 1.0], [True, False], 0.5)
        0.5
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must be in (0, 1], got {coverage}")
    sure, good = _checked(confidence, right)
    if not len(sure):
        return float("nan")
    wanted = coverage * len(sure)
    edge = np.sort(sure)[::-1][max(int(np.ceil(wanted)) - 1, 0)]
    above, at = sure > edge, sure == edge
    partly = (wanted - above.sum()) * good[at].mean()
    return float((good[above].sum() + partly) / wanted)


def _checked(
    confidence: ArrayLike, right: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sure, good = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    if sure.shape != good.shape or sure.ndim != 1:
        raise ValueError(
            f"confidence and right must have one shape (n,), got {sure.shape} and {good.shape}"
        )
    inside = (sure >= 0) & (sure <= 1)
    if not inside.all():
        raise ValueError(f"confidence must be in [0, 1], got {sure[~inside][0]}")
    return sure, good
