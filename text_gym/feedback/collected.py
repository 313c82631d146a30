"""What a study has collected, and the comparisons that it is made of.

From items and judgements to the arrays that `aggregation` reads, with what the indices stand for. A
text is known by its prompt and its words: the same words to the same prompt are one text, whatever
item they stand in. Only items for work are looked at. Knows nothing of files or of the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

from text_gym.feedback.aggregation.comparisons import Comparisons
from text_gym.feedback.aggregation.rankings import pairs_of_rankings
from text_gym.feedback.answers import Answer, BothBad, Places, Preferred, Tie
from text_gym.feedback.config import Scale
from text_gym.feedback.items import Item, Turn
from text_gym.feedback.judgements import Judgement

Prompt = str | tuple[Turn, ...]


@dataclass(frozen=True)
class Collected:
    """Holds the items of a study and what counts of what was said of them."""

    items: Sequence[Item]
    judgements: Sequence[Judgement]
    weights: Mapping[str, float] = field(default_factory=dict)
    """How much each annotator counts, by `Annotator.id`; 1 if not named."""
    scales: Sequence[Scale] = ()
    """On which texts were rated."""

    def work(self) -> Iterator[tuple[Item, Judgement, float]]:
        """Yields each judgement of an item for work, with the item and the annotator's weight."""
        items = {item.id: item for item in self.items if item.purpose == "work"}
        for judgement in self.judgements:
            if judgement.item in items:
                weight = self.weights.get(judgement.annotator, 1.0)
                yield items[judgement.item], judgement, weight


class Text(NamedTuple):
    """Holds what a score is of."""

    prompt: Prompt
    completion: str


class Tally(NamedTuple):
    """Holds N comparisons and what their indices stand for."""

    given: Comparisons
    texts: Sequence[Text]
    """What `given.left` and `given.right` point into."""
    annotators: Sequence[str]
    """What `given.annotator` points into: `Annotator.id`."""
    judgements: Sequence[Judgement]
    """(N,): the row that each comparison comes from."""


def tally(collected: Collected) -> Tally:
    """Returns all comparisons: of two texts, and of each two in a ranking.

    "Both bad" is a tie here. Judgements that compare nothing are left out, and so are two
    texts that are equal: a model may write the same twice.
    """
    texts: dict[Text, int] = {}
    annotators: dict[str, int] = {}
    shown, places, who, weights, rows = [], [], [], [], []
    for item, judgement, weight in collected.work():
        said = _places(judgement.answer)
        ranked = [Text(item.prompt, item.completions[at].text) for at in judgement.order]
        if said is None or len(set(ranked)) < 2:
            continue
        shown.append([texts.setdefault(text, len(texts)) for text in ranked])
        places.append([said[at] for at in judgement.order])
        who.append(annotators.setdefault(judgement.annotator, len(annotators)))
        weights.append(weight)
        rows += [judgement for one, other in combinations(ranked, 2) if one != other]
    given = pairs_of_rankings(shown, places, who, weights)
    return Tally(given, list(texts), list(annotators), rows)


def _places(answer: Answer) -> tuple[int, ...] | None:
    """Returns an answer as places in the item; None if it is no comparison."""
    match answer:
        case Preferred(better):
            return (1, 2) if better == 0 else (2, 1)
        case Tie() | BothBad():
            return (1, 1)
        case Places(places):
            return places
    return None
