"""Scores of texts with their intervals: JSON lines, one for each text and scale.

Of comparisons and rankings, Bradley and Terry's scores in logits (`"scale": "comparisons"`): within
one `set` their mean is 0, and between sets nothing is known. Of ratings, the mean on each scale.
`low` and `high` are the ends of the interval of 95 %, null where the ratings are too few to tell.
Needs scipy.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from text_gym.feedback.aggregation.bradley_terry import fit_bradley_terry
from text_gym.feedback.aggregation.ratings import rating_means
from text_gym.feedback.answers import Ratings
from text_gym.feedback.collected import Collected, Text, tally
from text_gym.feedback.formats.json_text import json_lines
from text_gym.feedback.formats.messages import completion_to_json, prompt_to_json
from text_gym.feedback.proportion import normal_quantile

CONFIDENCE = 0.95
Named = TypeVar("Named")


def write(collected: Collected) -> Iterator[str]:
    """Yields the lines of the file, those of comparisons first."""
    yield from json_lines(_compared(collected))
    yield from json_lines(_rated(collected))


def _compared(collected: Collected) -> Iterator[dict[str, Any]]:
    counted = tally(collected)
    if not counted.judgements:
        return
    fit = fit_bradley_terry(counted.given)
    rows = defaultdict(list)
    sides = zip(counted.given.left, counted.given.right, counted.judgements, strict=True)
    for left, right, judgement in sides:
        rows[left].append(judgement.id)
        rows[right].append(judgement.id)
    for at, text in enumerate(counted.texts):
        yield _row(text, "comparisons", float(fit.scores[at]), float(fit.score_errors[at])) | {
            "set": int(fit.sets[at]),
            "judgements": list(dict.fromkeys(rows[at])),
        }


def _rated(collected: Collected) -> Iterator[dict[str, Any]]:
    said: dict[str, list[tuple[Text, str, int, str]]] = defaultdict(list)
    for item, judgement, _ in collected.work():
        if isinstance(judgement.answer, Ratings):
            text = Text(item.prompt, item.completions[0].text)
            for scale, rating in judgement.answer.ratings.items():
                said[scale].append((text, judgement.annotator, rating, judgement.id))
    for scale, ratings in said.items():
        texts, annotators = _places(one[0] for one in ratings), _places(one[1] for one in ratings)
        found = rating_means(
            [rating for *_, rating, _ in ratings],
            [texts[text] for text, *_ in ratings],
            [annotators[who] for _, who, _, _ in ratings],
        )
        rows = defaultdict(list)
        for text, *_, row in ratings:
            rows[text].append(row)
        for text, at in texts.items():
            scored = _row(text, scale, float(found.means[at]), float(found.errors[at]))
            yield scored | {"judgements": rows[text]}


def _places(named: Iterable[Named]) -> dict[Named, int]:
    """Returns of each thing its place among the different ones, in the order of appearance."""
    return {one: at for at, one in enumerate(dict.fromkeys(named))}


def _row(text: Text, scale: str, score: float, error: float) -> dict[str, Any]:
    reach = normal_quantile(CONFIDENCE) * error
    ends = (None, None) if math.isnan(reach) else (score - reach, score + reach)
    return {
        "prompt": prompt_to_json(text.prompt),
        "completion": completion_to_json(text.prompt, text.completion),
        "scale": scale,
        "score": score,
        "low": ends[0],
        "high": ends[1],
    }
