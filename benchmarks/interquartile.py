"""The interquartile mean of runs, and its interval by a stratified bootstrap.

Source: Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice",
arXiv:2108.13264. Knows neither tasks nor learners.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.figures import Figure, figure


class Interval(NamedTuple):
    """Holds an estimate and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


def interquartile_mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean of the middle half along the last axis, (...).

    The scores at the edges of the half count by the part of them that is inside, so that few scores
    do as well as many.

    Args:
        scores: (..., n).

    Example:
        >>> interquartile_mean(np.array([9.0, 1.0, 2.0, -5.0]))
        np.float64(1.5)
        >>> interquartile_mean(np.array([0.0, 1.0, 2.0, 3.0, 99.0])).round(3)
        np.float64(2.0)
    """
    n = scores.shape[-1]
    edges = np.arange(n + 1) / n
    inside = np.clip(edges[1:], 0.25, 0.75) - np.clip(edges[:-1], 0.25, 0.75)
    # Not a matrix product, whose rounding would depend on how many rows there are.
    return np.asarray((np.sort(scores, axis=-1) * (inside / 0.5)).sum(axis=-1))[()]


def bootstrapped(scores: ArrayLike, *, draws: int = 2000, seed: int = 0) -> Interval:
    """Returns the interquartile mean of all runs, with its 95 % percentile interval.

    Args:
        scores: Of n runs on each of m tasks, (m, n); or of one task, (n,). Runs are drawn with
            replacement task by task, so that every task keeps its weight.
        draws: Bootstrap samples.
        seed: Of the draws.

    Raises:
        ValueError: If there is no score.
    """
    value, samples = _resampled(scores, draws, np.random.default_rng(seed))
    return Interval(value, *_central(samples))


def bootstrapped_ratio(
    ours: ArrayLike, theirs: ArrayLike, *, draws: int = 2000, seed: int = 0
) -> Interval:
    """Returns the ratio of two interquartile means, with its 95 % percentile interval.

    Args:
        ours: (m, n) or (n,), as `bootstrapped` takes them.
        theirs: As many tasks; runs are drawn independently of ours.
        draws: Bootstrap samples.
        seed: Of the draws.

    Raises:
        ValueError: If there is no score.

    Example:
        >>> bootstrapped_ratio([2.0, 2.0], [8.0, 8.0, 8.0])
        Interval(value=0.25, low=0.25, high=0.25)
    """
    np_random = np.random.default_rng(seed)
    mine, samples = _resampled(ours, draws, np_random)
    other, others = _resampled(theirs, draws, np_random)
    return Interval(mine / other, *_central(samples / others))


def _resampled(
    scores: ArrayLike, draws: int, np_random: np.random.Generator
) -> tuple[float, NDArray[np.float64]]:
    """Returns the interquartile mean of all runs, and those of bootstrap samples, (draws,)."""
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if not table.size:
        raise ValueError(f"scores must hold at least one, got shape {table.shape}")
    chosen = np_random.integers(table.shape[1], size=(draws, *table.shape))
    samples = np.take_along_axis(table[None], chosen, axis=2).reshape(draws, -1)
    return float(interquartile_mean(table.ravel())), interquartile_mean(samples)


def _central(samples: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)


def interval_figure(
    name: str, scores: ArrayLike, unit: str, *, at_most: float | None = None, note: str = ""
) -> Figure:
    """Returns the interquartile mean as a figure, with its interval in place of the range.

    Args:
        name: What was measured.
        scores: (m, n) or (n,), as `bootstrapped` takes them.
        unit: Of the scores.
        at_most: The goal, if there is one.
        note: What else a reader has to know.
    """
    found = bootstrapped(scores)
    notes = "; ".join(filter(None, (INTERVAL, note)))
    one = figure(name, found.value, unit, at_most=at_most, note=notes)
    repeats = int(np.size(scores))
    return dataclasses.replace(one, lowest=found.low, highest=found.high, repeats=repeats)


def ratio_figure(name: str, ours: ArrayLike, theirs: ArrayLike, *, note: str = "") -> Figure:
    """Returns the ratio of two interquartile means as a figure, with its interval as the range.

    Args:
        name: What was measured.
        ours: (m, n) or (n,), as `bootstrapped_ratio` takes them.
        theirs: As many tasks.
        note: What else a reader has to know.
    """
    found = bootstrapped_ratio(ours, theirs)
    one = figure(name, found.value, note="; ".join(filter(None, (RATIO, note))))
    repeats = int(np.size(ours))
    return dataclasses.replace(one, lowest=found.low, highest=found.high, repeats=repeats)


RATIO = "ratio of interquartile means over runs, with its 95 % interval by stratified bootstrap"
INTERVAL = "interquartile mean over runs, with its 95 % interval by stratified bootstrap"
