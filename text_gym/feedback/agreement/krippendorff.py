"""Krippendorff's alpha: agreement beyond what chance makes, whoever judged what.

    α = 1 − D_o/D_e

with D_o the mean difference δ² between answers on one unit and D_e that between any two answers. 1
is perfect agreement, 0 is chance, below 0 is worse than chance. Units that were judged once say
nothing. Knows numbers only; what they stand for, and whether their order means anything, the caller
says.

Source: Krippendorff, 2011, "Computing Krippendorff's alpha-reliability", University of
Pennsylvania.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from text_gym.feedback.proportion import Interval, normal_quantile

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval"]


class Coincidences(NamedTuple):
    """Holds which answers met on U units that were judged at least twice."""

    values: Floats
    """(K,) the answers that occur, ascending."""
    by_unit: Floats
    """(U, K, K): pairs of answers on a unit, each divided by its number of answers less one."""


def krippendorff_alpha(units: ArrayLike, values: ArrayLike, level: Level = "nominal") -> float:
    """Returns alpha; NaN where there is nothing to disagree about.

    Args:
        units: (N,) integers: what was judged.
        values: (N,) numbers: what was said.
        level: Whether answers are names, places in an order, or numbers on a scale.

    Raises:
        ValueError: If the level is unknown, or the shapes differ.

    Example:
        >>> krippendorff_alpha([0, 0, 1, 1], [1, 1, 2, 2]), krippendorff_alpha([0, 0], [1, 1])
        (1.0, nan)
    """
    met = coincidences(units, values)
    return float(_alphas(met.by_unit.sum(axis=0)[None], met.values, level)[0])


def krippendorff_interval(
    units: ArrayLike,
    values: ArrayLike,
    level: Level = "nominal",
    *,
    np_random: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Interval:
    """Returns alpha with its bootstrap interval: units are drawn anew, with all their answers.

    Args:
        units: (N,); see `krippendorff_alpha`.
        values: (N,).
        level: Of measurement.
        np_random: Draws the units.
        confidence: In (0, 1).
        resamples: How often they are drawn.

    Raises:
        ValueError: If one of them is not as said.
    """
    normal_quantile(confidence)  # refuses what is no confidence
    met = coincidences(units, values)
    count = len(met.by_unit)
    value = krippendorff_alpha(units, values, level)
    if count == 0:
        return Interval(value, np.nan, np.nan)
    drawn = np_random.multinomial(count, np.full(count, 1 / count), size=resamples)
    sums = np.tensordot(drawn.astype(np.float64), met.by_unit, axes=1)
    alphas = _alphas(sums, met.values, level)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    known = alphas[~np.isnan(alphas)]
    low, high = np.quantile(known, tails) if len(known) else (np.nan, np.nan)
    return Interval(value, float(low), float(high))


def coincidences(units: ArrayLike, values: ArrayLike) -> Coincidences:
    """Returns which answers met on which unit.

    Raises:
        ValueError: If the shapes differ.
    """
    unit, value = np.asarray(units).reshape(-1), np.asarray(values, dtype=np.float64).reshape(-1)
    if unit.shape != value.shape:
        raise ValueError(f"units and values must have one shape, got {unit.shape}, {value.shape}")
    of_unit = np.unique(unit, return_inverse=True)[1].reshape(-1)
    judged = np.bincount(of_unit)
    known, of_value = np.unique(value[judged[of_unit] > 1], return_inverse=True)
    rows = np.unique(of_unit[judged[of_unit] > 1], return_inverse=True)[1].reshape(-1)
    counts = np.zeros((int((judged > 1).sum()), len(known)))
    np.add.at(counts, (rows, of_value.reshape(-1)), 1.0)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(known))
    return Coincidences(known, pairs / (counts.sum(axis=1) - 1)[:, None, None])


def _alphas(sums: Floats, values: Floats, level: Level) -> Floats:
    """Returns alpha of each of R sums of coincidences, (R, K, K) to (R,)."""
    marginals = sums.sum(axis=2)
    total = marginals.sum(axis=1)
    squares = _squared_differences(marginals, values, level)
    expected = marginals[:, :, None] * marginals[:, None, :]
    disagreement = (sums * squares).sum(axis=(1, 2))
    by_chance = (expected * squares).sum(axis=(1, 2))
    ratios = np.full(len(sums), np.nan)
    np.divide((total - 1) * disagreement, by_chance, out=ratios, where=by_chance > 0)
    return np.asarray(1 - ratios)


def _squared_differences(marginals: Floats, values: Floats, level: Level) -> Floats:
    """Returns δ² between any two answers, (R, K, K), (1, K, K) where it is always the same.

    Of places, a difference is the number of answers between, half of those at either end included.
    """
    if level == "nominal":
        return np.asarray(values[:, None] != values, dtype=np.float64)[None]
    if level == "interval":
        return np.square(values[:, None] - values)[None]
    if level == "ordinal":
        middle = np.cumsum(marginals, axis=1) - marginals / 2
        return np.asarray((middle[:, :, None] - middle[:, None, :]) ** 2)
    raise ValueError(f"level must be nominal, ordinal or interval, got {level!r}")
