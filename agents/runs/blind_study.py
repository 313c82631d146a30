"""Who people like better, blind: a study of replies side by side, and what it said so far.

Each item holds the reference's reply to a prompt and that of one other policy; who wrote them
stands in the study and on no page of it. Knows nothing of models.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from agents.evaluation.metrics import Evaluation
from agents.evaluation.win_rates import rate_of_wins
from text_gym.feedback import (
    Answer,
    BothBad,
    Completion,
    Item,
    Preferred,
    StudyConfig,
    Tie,
    create_study,
    open_study,
)
from text_gym.feedback.collected import Collected
from text_gym.feedback.collecting import collect
from text_gym.feedback.items import content_hash
from text_gym.feedback.proportion import Interval


def win_rates_by_people(folder: Path, evaluated: Mapping[str, Evaluation]) -> dict[str, Interval]:
    """Asks in a study whose replies are better, and returns what was answered until now.

    Args:
        folder: Of the study; a new one is made where there is none.
        evaluated: What was written, by name; the first is the reference.

    Returns:
        The win rate over the reference of each policy of which anything was said. An item's answers
        are averaged, ties and "both bad" being half a win, so that items count alike. Of replies
        that are equal nobody is asked, and they do not count.

    Raises:
        FileNotFoundError: If there is something in the folder that is no study.
        ValueError: If the study is not one in which two replies are compared.
    """
    reference, *others = evaluated
    items = list(_items(evaluated))
    if not os.path.lexists(folder) or not os.listdir(folder):
        create_study(folder, StudyConfig(title=folder.name), items)
    study = open_study(folder)
    if study.config.mode != "compare":
        raise ValueError(f"study must be one of mode compare, got {study.config.mode}: {folder}")
    with study.open() as store:
        store.items.add(items)
        said = collect(study, store)
    wins = _wins(said, reference)
    return {name: rate_of_wins(wins[name]) for name in others if wins[name]}


def _items(evaluated: Mapping[str, Evaluation]) -> Iterator[Item]:
    """Yields the pairs of replies that differ, each once."""
    (reference, first), *others = evaluated.items()
    for name, one in others:
        texts = dict.fromkeys(zip(one.prompts, first.completions, one.completions, strict=True))
        for prompt, before, after in texts:
            if before != after:
                pair = (Completion(before, reference), Completion(after, name))
                yield _named(Item("-", prompt, pair), name)


def _named(item: Item, policy: str) -> Item:
    """Returns the item by what is in it: two policies may have written the same."""
    return Item(f"{content_hash(item)}/{policy}"[:200], item.prompt, item.completions)


def _wins(said: Collected, reference: str) -> dict[str, list[float]]:
    """Returns how often each policy won, an item at a time, over the reference."""
    votes: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for item, judgement, weight in said.work():
        sources = [completion.source for completion in item.completions]
        if reference not in sources or len(set(sources)) != 2:
            continue
        (other,) = (at for at, source in enumerate(sources) if source != reference)
        vote = _vote(judgement.answer, other)
        if vote is not None and weight > 0:
            votes[sources[other], item.id].append((vote, weight))
    wins: dict[str, list[float]] = defaultdict(list)
    for (policy, _), cast in votes.items():
        total = sum(weight for _, weight in cast)
        wins[policy].append(sum(vote * weight for vote, weight in cast) / total)
    return wins


def _vote(answer: Answer, place: int) -> float | None:
    """Returns 1 if the completion at a place of two is preferred, 0 if the other; None: neither."""
    match answer:
        case Preferred(better):
            return float(better == place)
        case Tie() | BothBad():
            return 0.5
    return None
