"""What a gain in reward went along with: length, repetition, a handful of phrases.

A regression of differences on differences. It says what changed together, not what caused what.
Knows numbers alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

FEWEST = 5
"""Texts in which something must differ from its commonest value, to be told from chance."""
_QUANTILE = 0.975


class Part(NamedTuple):
    """What goes along with one thing.

    Attributes:
        name: What changed.
        change: Its mean change.
        slope: Reward per unit of it, the others being equal.
        carried: slope × change: the part of the mean gain that goes along with it.
        half_width: Half of the 95 % confidence interval of `carried`.
    """

    name: str
    change: float
    slope: float
    carried: float
    half_width: float


class Explanation(NamedTuple):
    """Divides a mean gain.

    Attributes:
        gain: The mean gain, which `rest` and the parts add up to.
        parts: In the order in which they were given.
        rest: What goes along with none of them.
        rest_half_width: Half of its 95 % confidence interval.
        r_squared: Share of the variance between texts that the parts explain.
    """

    gain: float
    parts: Sequence[Part]
    rest: float
    rest_half_width: float
    r_squared: float


def explain_gain(gains: Sequence[float], changes: Mapping[str, Sequence[float]]) -> Explanation:
    """Divides the mean gain by least squares.

    With gain = c + Σ_j β_j Δx_j + error, the mean gain is c + Σ_j β_j mean(Δx_j). What hardly
    varies is left out. Intervals allow for errors of unequal variance (HC3).

    Sources: Oaxaca 1973, International Economic Review 14(3), for the division; MacKinnon and White
    1985, Journal of Econometrics 29(3), for HC3.

    Args:
        gains: Of each text, n of them.
        changes: By name, of each text.

    Raises:
        ValueError: If there are not two texts more than there are changes.
    """
    y = np.asarray(gains, dtype=np.float64)
    if len(y) < len(changes) + 3:
        raise ValueError(
            f"gains must be of {len(changes) + 3} texts or more for {len(changes)} changes, got "
            f"{len(y)}"
        )
    columns = {name: np.asarray(one, dtype=np.float64) for name, one in changes.items()}
    columns = {name: one for name, one in columns.items() if _differing(one) >= FEWEST}
    x = np.column_stack([np.ones(len(y)), *columns.values()])
    slopes, covariance = _least_squares(x, y)
    means = x.mean(axis=0)
    free = len(y) - x.shape[1]
    half = float(stdtrit(free, _QUANTILE)) * np.sqrt(np.diag(covariance)) * np.abs(means)
    parts = [
        Part(name, *map(float, (means[at], slopes[at], slopes[at] * means[at], half[at])))
        for at, name in enumerate(columns, start=1)
    ]
    total = float(np.square(y - y.mean()).sum())
    left = float(np.square(y - x @ slopes).sum())
    r_squared = 1 - left / total if total else 0.0
    return Explanation(float(y.mean()), parts, float(slopes[0]), float(half[0]), r_squared)


def _least_squares(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the coefficients (k,) and their covariance by HC3, (k, k)."""
    inverse = np.linalg.pinv(x.T @ x)
    slopes = inverse @ x.T @ y
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
    scaled = (y - x @ slopes) / np.maximum(1 - leverage, 1e-6)
    middle = (x * scaled[:, None] ** 2).T @ x
    return slopes, inverse @ middle @ inverse


def _differing(column: NDArray[np.float64]) -> int:
    """Returns in how many texts something differs from its commonest value."""
    _, counts = np.unique(column, return_counts=True)
    return len(column) - int(counts.max())
