"""From the store to what is exported, and from what was exported elsewhere into the store.

Knows no format: see `text_gym.feedback.formats`.
"""

from __future__ import annotations

from text_gym.feedback.annotators import Annotator
from text_gym.feedback.collected import Collected
from text_gym.feedback.store import Store
from text_gym.feedback.study import Study


def collect(study: Study, store: Store, *, everything: bool = False) -> Collected:
    """Returns what a study has collected.

    Args:
        study: Its settings.
        store: Its rows.
        everything: Also what does not count: repeats, skips, tutorial and exam, people who are left
            out. What was taken back is never there.
    """
    judgements = store.judgements.standing() if everything else store.judgements.counted()
    weights = {one.id: one.weight for one in store.annotators.all()}
    return Collected(store.items.all(), judgements, weights, study.config.scales)


def enter(store: Store, collected: Collected) -> tuple[int, int]:
    """Adds items and judgements; returns how many of each were new.

    Annotators that are not known here are entered under the id by which they were known there.

    Raises:
        ValueError: If a judgement is of no item, or another row has its id; then nothing is added.
    """
    with store.transaction():
        items = store.items.add(collected.items)
        known = {item.id for item in store.items.all()}
        new = 0
        for one in collected.judgements:
            if one.item not in known:
                raise ValueError(f"judgement {one.id!r} must be of an item, got {one.item!r}")
            earlier = store.judgements.get(one.id)
            if earlier is not None and earlier != one:
                raise ValueError(f"ids of judgements must be unique, got {one.id!r} again")
            if earlier is None:
                if store.annotators.get(one.annotator) is None:
                    store.annotators.register(Annotator(one.annotator, one.annotator[:40]))
                store.judgements.add(one)
                new += 1
        return items, new
