"""The state of a study in numbers: how far it is, how far people agree, who does what.

Everything is computed from rows. Knows nothing of pages and plots.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from text_gym.feedback.agreement.krippendorff import krippendorff_interval
from text_gym.feedback.agreement.pairwise import pair_counts
from text_gym.feedback.annotators import Annotator
from text_gym.feedback.answers import Answer, agrees
from text_gym.feedback.collected import Collected
from text_gym.feedback.items import Item
from text_gym.feedback.judgements import Judgement
from text_gym.feedback.opinions import opinions
from text_gym.feedback.proportion import Interval, wilson
from text_gym.feedback.quality import side
from text_gym.feedback.store import Store

State = Literal["working", "paused", "rejected", "excluded", "new"]


@dataclass(frozen=True)
class Agreement:
    """Holds how far people agree on what was asked."""

    name: str
    """"comparisons", or that of a scale."""
    raw: float
    """Share of equal pairs of answers; NaN if nobody met anybody."""
    alpha: Interval
    """Krippendorff's, with the interval of 95 %."""
    by_unit: Sequence[float]
    """Of everything that was judged twice or more, the share of equal pairs."""


@dataclass(frozen=True)
class Work:
    """Holds what is known of one annotator's work."""

    annotator: Annotator
    judged: int
    known_answers: Interval
    """The share that was right, with Wilson's interval of 95 %; NaN without any."""
    with_others: float
    """The share of answers by others on the same items that are equal; NaN if there are none."""
    left: Interval
    """The share of preferences for the left side; NaN without any."""
    seconds: float
    """The median of a judgement; NaN without any."""
    state: State
    why: str


@dataclass(frozen=True)
class Disputed:
    """Holds an item on which people said different things."""

    item: Item
    answers: Sequence[tuple[Answer, int]]
    """Most frequent first."""


def agreements(store: Store) -> list[Agreement]:
    """Returns how far people agree on what was asked; the interval is drawn with a fixed seed."""
    collected = Collected(store.items.all("work"), store.judgements.counted())
    return [
        Agreement(
            name,
            pair_counts(said.units, said.values, said.annotators).overall,
            krippendorff_interval(
                said.units, said.values, said.level, np_random=np.random.default_rng(0),
                resamples=300,
            ),
            _shares(said.units, said.values),
        )
        for name, said in opinions(collected).items()
    ]  # fmt: skip


def works(store: Store) -> list[Work]:
    """Returns what every annotator did, in the order in which they came."""
    expected, excluded = store.items.expected("gold"), store.annotators.excluded()
    shares = _shares_with_others(store.judgements.counted())
    return [
        _work(store, one, expected, shares.get(one.id, math.nan), one.id in excluded)
        for one in store.annotators.all()
    ]


def disputed(store: Store, most: int = 20) -> list[Disputed]:
    """Returns the items on which people differ, those of most opinions first."""
    said: dict[str, Counter[str]] = {}
    answers: dict[str, Answer] = {}
    for one in store.judgements.counted():
        answers[repr(one.answer)] = one.answer
        said.setdefault(one.item, Counter())[repr(one.answer)] += 1
    differing = [name for name, counts in said.items() if len(counts) > 1]
    differing.sort(key=lambda name: (-len(said[name]), -said[name].total(), name))
    return [
        Disputed(
            store.items.get(name),
            [(answers[spelt], count) for spelt, count in said[name].most_common()],
        )
        for name in differing[:most]
    ]


def per_hour(times: Sequence[float], now: float) -> float:
    """Returns how many judgements the last hour brought.

    Example:
        >>> per_hour([0.0, 7000.0, 7100.0], now=7200.0)
        2
    """
    return sum(now - 3600 < time <= now for time in times)


def _work(
    store: Store,
    annotator: Annotator,
    expected: Mapping[str, Answer],
    with_others: float,
    is_excluded: bool,
) -> Work:
    said = store.judgements.work(annotator.id)
    right = [agrees(one.answer, expected[one.item]) for one in said if one.item in expected]
    sides = [chosen for chosen in map(side, said) if chosen]
    state, why = _state(store, annotator, said, is_excluded)
    return Work(
        annotator,
        len(said),
        wilson(sum(right), len(right)),
        with_others,
        wilson(sides.count(1), len(sides)),
        median(one.seconds for one in said) if said else math.nan,
        state,
        why,
    )


def _shares_with_others(said: Sequence[Judgement]) -> dict[str, float]:
    """Returns of each annotator the share of pairs of answers with others that are equal."""
    if not said:
        return {}
    units, values, people = (
        np.unique(column, return_inverse=True)
        for column in zip(
            *((one.item, repr(one.answer), one.annotator) for one in said), strict=True
        )
    )
    shares = pair_counts(units[1], values[1], people[1]).share
    return dict(zip(people[0].tolist(), shares.tolist(), strict=True))


def _state(
    store: Store, annotator: Annotator, said: Sequence[Judgement], is_excluded: bool
) -> tuple[State, str]:
    last = store.annotators.last
    if is_excluded:
        event = last(annotator.id, "excluded")
        return "excluded", "" if event is None else event.detail
    event = last(annotator.id, "paused", "resumed")
    if event is not None and event.kind == "paused":
        return "paused", event.detail
    event = last(annotator.id, "admitted", "rejected")
    if event is not None and event.kind == "rejected":
        return "rejected", event.detail
    return ("working" if said else "new"), ""


def _shares(units: np.ndarray, values: np.ndarray) -> list[float]:
    """Returns the share of equal pairs on each unit that was judged at least twice."""
    shares = []
    for unit in np.unique(units):
        counts = np.unique(values[units == unit], return_counts=True)[1]
        total = int(counts.sum())
        if total > 1:
            shares.append(float((counts * (counts - 1)).sum() / (total * (total - 1))))
    return shares
