"""Many comparisons as arrays: what every way of adding them up reads.

Knows indices, no texts and no people: whoever builds the arrays keeps the lists that the indices
point into.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


class Comparisons(NamedTuple):
    """Holds N comparisons, each with what stood on which side."""

    left: Indices
    """(N,): which one stood on the left, or first."""
    right: Indices
    """(N,): which one stood on the right, or second."""
    outcome: Indices
    """(N,): 1 the left one was preferred, −1 the right one, 0 neither."""
    annotator: Indices
    """(N,): who said so."""
    weight: Floats
    """(N,): how much it counts, at least 0."""

    @property
    def item_count(self) -> int:
        """Number of things that are compared: the highest index and one."""
        return 1 + int(max(self.left.max(initial=-1), self.right.max(initial=-1)))

    @property
    def annotator_count(self) -> int:
        """Number of annotators: the highest index and one."""
        return 1 + int(self.annotator.max(initial=-1))

    def of(self, rows: NDArray[np.bool_]) -> Comparisons:
        """Returns some of the comparisons; the indices keep their meaning."""
        return Comparisons._make(column[rows] for column in self)


def comparisons(
    left: ArrayLike,
    right: ArrayLike,
    outcome: ArrayLike,
    annotator: ArrayLike | None = None,
    weight: ArrayLike | None = None,
) -> Comparisons:
    """Returns comparisons of checked columns; without annotators one person said everything.

    Args:
        left: (N,) integers of at least 0; `right` likewise.
        right: Nowhere equal to `left`.
        outcome: (N,) of 1, 0 and −1.
        annotator: (N,) integers of at least 0.
        weight: (N,) finite numbers of at least 0; without them all count 1.

    Raises:
        ValueError: If a column is not as said; names it.

    Example:
        >>> comparisons([0, 0], [1, 2], [1, -1]).item_count
        3
    """
    first, second = _indices("left", left), _indices("right", right)
    result = np.asarray(outcome, dtype=np.int64).reshape(-1)
    who = np.zeros_like(first) if annotator is None else _indices("annotator", annotator)
    counts = np.ones(len(first)) if weight is None else np.asarray(weight, dtype=np.float64)
    columns = Comparisons(first, second, result, who, counts)
    if len({column.shape for column in columns}) > 1:
        shapes = ", ".join(str(column.shape) for column in columns)
        raise ValueError(
            f"left, right, outcome, annotator, weight must have one shape, got {shapes}"
        )
    if np.any(first == second):
        raise ValueError(f"right must differ from left, got {first[first == second][0]} for both")
    if not np.isin(result, (-1, 0, 1)).all():
        raise ValueError(
            f"outcome must be 1, 0 or -1, got {result[~np.isin(result, (-1, 0, 1))][0]}"
        )
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError(f"weight must be finite and at least 0, got {counts.tolist()}")
    return columns


def _indices(name: str, values: ArrayLike) -> Indices:
    indices = np.asarray(values, dtype=np.int64).reshape(-1)
    if (indices < 0).any():
        raise ValueError(f"{name} must hold indices of at least 0, got {indices.min()}")
    return indices
