"""Rankings as comparisons: each ranking is broken into all of its pairs.

Under Plackett and Luce's model, which draws the best first, then the best of the rest, and so on,
with probability ∝ exp(s), any two texts of a ranking stand in the order that Bradley and Terry's
model says, P(i before j) = 1 / (1 + exp(s_j − s_i)). So the scores that are fitted to all pairs are
those of Plackett and Luce, consistently; and places that are shared, annotators and sides need no
model of their own. The k(k − 1)/2 pairs of one ranking are not independent: each counts 2/k, so
that a ranking weighs as much as the k − 1 choices that it is made of.

Source: Azari Soufiani, Chen, Parkes and Xia, 2013, "Generalized method-of-moments for rank
aggregation", NeurIPS (full breaking is consistent).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from text_gym.feedback.aggregation.comparisons import Comparisons, comparisons


def pairs_of_rankings(
    items: Sequence[Sequence[int]],
    places: Sequence[Sequence[int]],
    annotators: Sequence[int],
    weights: Sequence[float],
) -> Comparisons:
    """Returns the comparisons of M rankings; what was shown earlier stands on the left.

    A text that was shown twice is not compared with itself.

    Args:
        items: Of each ranking the texts, in the order in which they were shown.
        places: Of each text its place, 1 the best; equal ones are tied.
        annotators: Who ranked.
        weights: How much each ranking counts.

    Raises:
        ValueError: If a ranking has more texts than places, or fewer.

    Example:
        >>> pairs = pairs_of_rankings([[4, 7, 5]], [[2, 1, 2]], [0], [1.0])
        >>> pairs.left, pairs.right, pairs.outcome, pairs.weight.round(2)
        (array([4, 4, 7]), array([7, 5, 5]), array([-1,  0,  1]), array([0.67, 0.67, 0.67]))
    """
    rows: list[tuple[int, int, int, int, float]] = []
    for shown, given, who, weight in zip(items, places, annotators, weights, strict=True):
        ranked = list(zip(shown, given, strict=True))
        rows += [
            (left, right, int(np.sign(below - above)), who, 2 * weight / len(ranked))
            for (left, above), (right, below) in combinations(ranked, 2)
            if left != right
        ]
    if not rows:
        return comparisons([], [], [], [], [])
    left, right, outcome, who_said, counts = zip(*rows, strict=True)
    return comparisons(left, right, outcome, who_said, counts)
