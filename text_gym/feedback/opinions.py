"""What people said as numbers that can agree: the arrays that `agreement` reads.

A comparison is a unit with the value 1, 0 or −1, whichever side things stood on; a ranking is as
many units as it has pairs; a rating is a unit of its scale. Knows nothing of how agreement is
measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from text_gym.feedback.agreement.krippendorff import Level
from text_gym.feedback.answers import Ratings
from text_gym.feedback.collected import Collected, tally


class Opinions(NamedTuple):
    """Holds N answers."""

    units: NDArray[np.int64]
    """(N,): what was judged."""
    values: NDArray[np.float64]
    """(N,): what was said of it."""
    annotators: NDArray[np.int64]
    """(N,): by whom, in the order in which they first said something."""
    level: Level
    """What the values are: names, or numbers on a scale."""


def opinions(collected: Collected) -> Mapping[str, Opinions]:
    """Returns the answers by what was asked: "comparisons", or the name of a scale.

    Nothing is there of which nothing was said.
    """
    rows: dict[str, list[tuple[object, float, str]]] = defaultdict(list)
    counted = tally(collected)
    for left, right, outcome, _, _, judgement in zip(
        *counted.given, counted.judgements, strict=True
    ):
        unit = judgement.item, *sorted((int(left), int(right)))
        rows["comparisons"].append(
            (unit, outcome if left < right else -outcome, judgement.annotator)
        )
    for item, judgement, _ in collected.work():
        if isinstance(judgement.answer, Ratings):
            for scale, rating in judgement.answer.ratings.items():
                rows[scale].append((item.id, rating, judgement.annotator))
    return {name: _opinions(name, said) for name, said in rows.items()}


def _opinions(name: str, said: list[tuple[object, float, str]]) -> Opinions:
    units, values, annotators = zip(*said, strict=True)
    level: Level = "nominal" if name == "comparisons" else "interval"
    return Opinions(
        _numbered(units), np.array(values, dtype=np.float64), _numbered(annotators), level
    )


def _numbered(named: tuple[object, ...]) -> NDArray[np.int64]:
    """Returns of each thing its place among the different ones, in the order of appearance."""
    places = {one: at for at, one in enumerate(dict.fromkeys(named))}
    return np.array([places[one] for one in named], dtype=np.int64)
