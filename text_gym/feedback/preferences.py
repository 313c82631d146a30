"""What a model can learn from judgements: preferences, labels, demonstrations.

Every one names the judgements that it was made of. Knows nothing of files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from text_gym.feedback.answers import BothBad, Correction, Preferred, Ratings
from text_gym.feedback.collected import Collected, Prompt, Tally, Text, tally
from text_gym.feedback.config import Scale
from text_gym.feedback.items import Item
from text_gym.feedback.judgements import Judgement


@dataclass(frozen=True)
class Preference:
    """Holds two completions of a prompt, of which one was preferred by more people."""

    prompt: Prompt
    chosen: str
    rejected: str
    margin: float = 0.0
    """By how much, from 0: the mean strength that was said, 1 slightly to 3 by far, those against
    counted as negative; 0 where strength was not said."""
    weight: float = 1.0
    """In (0, 1]: votes for less votes against, as a share of all votes, ties included."""
    judgements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Label:
    """Holds a completion of a prompt, and whether it is good."""

    prompt: Prompt
    completion: str
    good: bool
    weight: float = 1.0
    """In (0, 1]: the share of votes by which one opinion leads."""
    judgements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Demonstration:
    """Holds a completion that somebody made as good as it should be."""

    prompt: Prompt
    completion: str
    weight: float = 1.0
    judgements: tuple[str, ...] = ()


def preferences(collected: Collected) -> list[Preference]:
    """Returns one preference for each two texts of which more people prefer one than the other.

    Whoever corrects a text prefers what they wrote. Two texts that nobody, or as many, prefer leave
    no preference.
    """
    counted = tally(collected)
    rows_of_pairs: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, (left, right) in enumerate(zip(counted.given.left, counted.given.right, strict=True)):
        rows_of_pairs[min(left, right), max(left, right)].append(row)
    found = [_preference(counted, *pair, rows) for pair, rows in rows_of_pairs.items()]
    return [one for one in found if one is not None] + list(_corrections_preferred(collected))


def labels(collected: Collected) -> list[Label]:
    """Returns a label for each text that more people called good than bad, or the other way round.

    Good is the preferred of two, a text rated above the middle of its scales, one that nobody who
    corrected it would change; bad is the other of two, both of "both bad", a text rated below the
    middle, one that was changed.
    """
    votes: dict[Text, list[tuple[float, str]]] = defaultdict(list)
    for item, judgement, weight in collected.work():
        for completion, vote in _votes(item, judgement, collected):
            votes[Text(item.prompt, completion)].append((vote * weight, judgement.id))
    found = []
    for text, cast in votes.items():
        lead = sum(vote for vote, _ in cast)
        if lead:
            share = abs(lead) / sum(abs(vote) for vote, _ in cast)
            rows = tuple(row for _, row in cast)
            found.append(Label(text.prompt, text.completion, lead > 0, share, rows))
    return found


def demonstrations(collected: Collected) -> list[Demonstration]:
    """Returns every corrected text, changed or not, with its annotator's weight."""
    return [
        Demonstration(item.prompt, judgement.answer.text, weight, (judgement.id,))
        for item, judgement, weight in collected.work()
        if isinstance(judgement.answer, Correction)
    ]


def _preference(counted: Tally, first: int, second: int, rows: list[int]) -> Preference | None:
    given = counted.given
    signs = np.where(given.left[rows] == first, given.outcome[rows], -given.outcome[rows])
    weights = given.weight[rows]
    lead, total = float(weights @ signs), float(weights.sum())
    if not lead:
        return None
    strengths = np.array([counted.judgements[row].strength or 0 for row in rows])
    better, worse = (first, second) if lead > 0 else (second, first)
    return Preference(
        prompt=counted.texts[better].prompt,
        chosen=counted.texts[better].completion,
        rejected=counted.texts[worse].completion,
        margin=max(0.0, float(np.sign(lead) * (weights * signs) @ strengths) / total),
        weight=abs(lead) / total,
        judgements=tuple(counted.judgements[row].id for row in rows),
    )


def _corrections_preferred(collected: Collected) -> Iterator[Preference]:
    for item, judgement, _ in collected.work():
        original = item.completions[0].text
        if isinstance(judgement.answer, Correction) and judgement.answer.text != original:
            corrected = judgement.answer.text
            yield Preference(item.prompt, corrected, original, judgements=(judgement.id,))


def _votes(item: Item, judgement: Judgement, collected: Collected) -> Iterator[tuple[str, float]]:
    """Yields texts with 1 for good and −1 for bad."""
    texts = [completion.text for completion in item.completions]
    match judgement.answer:
        case Preferred(better):
            yield from ((text, 1.0 if at == better else -1.0) for at, text in enumerate(texts))
        case BothBad():
            yield from ((text, -1.0) for text in texts)
        case Ratings():
            yield texts[0], _above_the_middle(judgement.answer, collected.scales)
        case Correction(corrected) if corrected == texts[0]:
            yield corrected, 1.0
        case Correction(corrected):
            yield from ((texts[0], -1.0), (corrected, 1.0))


def _above_the_middle(answer: Ratings, scales: Sequence[Scale]) -> float:
    """Returns 1, 0 or −1: on which side of the middle a text is, over all scales."""
    places = [
        (2 * answer.ratings[scale.name] - scale.lowest - scale.highest)
        / (scale.highest - scale.lowest)
        for scale in scales
        if scale.name in answer.ratings
    ]
    return float(np.sign(sum(places)))
