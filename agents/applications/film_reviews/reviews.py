"""Film reviews: reading them, dividing them into halves, and their openings as prompts.

Fetched by `python -m agents.fetch film-reviews`: reviews from IMDb and sentences of reviews from
Rotten Tomatoes, each labelled positive or negative. This module knows no tokenizer, no classifier
and no environment.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

Half: TypeAlias = Literal["train", "heldout"]
Source: TypeAlias = Literal["imdb", "rotten_tomatoes"]

OPENING_WORDS = 8
"""Words of a prompt: about ten tokens of SmolLM2."""

_LONGEST_OPENING = 64
"""Characters; one opening in a hundred is longer, with rows of stars or long titles."""


class Review(NamedTuple):
    """A text that is positive or negative."""

    text: str
    positive: bool
    source: Source


@cache
def read_reviews(path: Path) -> tuple[Review, ...]:
    """Reads the distinct reviews of a CSV file with the columns text, label (0 or 1) and source.

    Line breaks of HTML and runs of white space become single spaces. Of equal texts the first
    counts, so that none can be in both halves.
    """
    reviews: dict[str, Review] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            text = tidy(row["text"])
            source: Source = "imdb" if row["source"] == "imdb" else "rotten_tomatoes"
            reviews.setdefault(text, Review(text, row["label"] == "1", source))
    return tuple(reviews.values())


def tidy(text: str) -> str:
    """Returns a text on one line, without HTML's line breaks.

    Example:
        >>> tidy("So good.<br /><br />Or  was it?")
        'So good. Or was it?'
    """
    return " ".join(re.sub(r"<br\s*/?>", " ", text).split())


def half_of(text: str) -> Half:
    """Assigns a review to a half by a hash of its text, the same on every machine.

    Example:
        >>> half_of("A fine film."), half_of("A poor film.")
        ('heldout', 'train')
    """
    return "train" if hashlib.sha256(text.encode()).digest()[0] % 2 == 0 else "heldout"


def reviews_of(reviews: Sequence[Review], half: Half) -> list[Review]:
    """Returns the reviews of one half, in their order."""
    return [review for review in reviews if half_of(review.text) == half]


def openings(reviews: Sequence[Review], half: Half) -> list[str]:
    """Returns the distinct openings of one half's IMDb reviews, in their order.

    Different reviews may open alike ("I have to say that this is the"): an opening of the training
    half is no opening of the other, so that held-out prompts are unseen.
    """
    found = _openings(reviews, half)
    seen = set() if half == "train" else set(_openings(reviews, "train"))
    return [text for text in found if text not in seen]


def _openings(reviews: Sequence[Review], half: Half) -> dict[str, None]:
    texts = (review.text for review in reviews_of(reviews, half) if review.source == "imdb")
    first_words = (text.split()[:OPENING_WORDS] for text in texts)
    found = (" ".join(words) for words in first_words if len(words) == OPENING_WORDS)
    return dict.fromkeys(text for text in found if len(text) <= _LONGEST_OPENING)
