"""What most people say of each pair: counting, without a model.

Knows nothing of skill; what one person says counts as often as it was said, by its weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from text_gym.feedback.aggregation.comparisons import Comparisons, Floats, Indices


class Majority(NamedTuple):
    """Holds the votes on P pairs, each (P,)."""

    first: Indices
    """The text of the lower index."""
    second: Indices
    for_first: Floats
    """Weight of those who prefer the first."""
    for_second: Floats
    undecided: Floats
    """Weight of those who prefer neither."""

    @property
    def share(self) -> Floats:
        """Of the votes that the first one has; an undecided vote is half for each. (P,)."""
        votes = self.for_first + self.for_second + self.undecided
        return (self.for_first + self.undecided / 2) / votes

    @property
    def winner(self) -> Indices:
        """1 where more prefer the first, −1 the second, 0 where neither has more votes. (P,)."""
        return np.sign(self.for_first - self.for_second).astype(np.int64)


def majority(given: Comparisons) -> Majority:
    """Returns the votes on each pair that has any, in the order of the indices.

    Example:
        >>> from text_gym.feedback.aggregation.comparisons import comparisons
        >>> votes = majority(comparisons([0, 1, 0], [1, 0, 1], [1, -1, 0]))
        >>> votes.for_first, votes.undecided, votes.share.round(3)
        (array([2.]), array([1.]), array([0.833]))
    """
    counted = given.of(given.weight > 0)
    pairs = np.sort(np.stack([counted.left, counted.right], axis=1), axis=1)
    unique, of_pair = np.unique(pairs, axis=0, return_inverse=True)
    for_lower = np.where(counted.left < counted.right, counted.outcome, -counted.outcome)

    def votes(outcome: int) -> Floats:
        weights = counted.weight * (for_lower == outcome)
        summed = np.bincount(of_pair.reshape(-1), weights, minlength=len(unique))
        return summed.astype(np.float64)

    return Majority(unique[:, 0], unique[:, 1], votes(1), votes(-1), votes(0))
