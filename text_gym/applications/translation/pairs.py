"""Clauses in Spanish and English, from the cache folder, in splits of whole books.

`python -m agents.fetch translation` puts them there. This module knows no tokenizer, no model and
no environment.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

from text_gym.cache import cache_folder

Split: TypeAlias = Literal["train", "validation", "heldout"]
SPLITS: tuple[Split, ...] = get_args(Split)

FOLDER = "translation-1"
PAIRS_FILE = "pairs.jsonl"
PAIRS_SHA256 = "d089070f062d5edcafa0a5acb4ff9fc4eb57c95015cf66d7ca48e462a6f7be50"
FEWEST_WORDS, MOST_WORDS = 3, 7
"""Of a clause, in either language; what is longer or shorter is left out."""
BOOKS: Mapping[Split, tuple[str, ...]] = {
    "validation": ("Ruth", "Mic", "Mark", "Gal"),
    "heldout": ("Josh", "Esth", "Hos", "Jonah", "John", "2Cor", "Jas"),
}
"""Held out: a story, a prophet, a gospel and a letter at least in each; the others are in training.
"""

_NO_LETTERS = re.compile(r"[\W_]+")


class Pair(NamedTuple):
    """A clause in both languages."""

    spanish: str
    english: str


def translation_pairs(split: Split) -> tuple[Pair, ...]:
    """Reads the pairs of one split.

    Splits are whole books (`split_of`). A pair is left out if either of its sides, but for case and
    punctuation, is one of an earlier pair or of one in training: formulas recur from book to book.

    Args:
        split: `"train"`, `"validation"` (for when to stop a training, and for choices) or
            `"heldout"` (for results).

    Raises:
        ValueError: If the split is unknown, or the file is not the one that was fetched.
        FileNotFoundError: If nothing was fetched; names the command.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    return _splits(cache_folder() / FOLDER / PAIRS_FILE)[split]


def split_of(book: str) -> Split:
    """Returns the split that a book belongs to.

    Example:
        >>> split_of("John"), split_of("Gen")
        ('heldout', 'train')
    """
    return next((split for split, books in BOOKS.items() if book in books), "train")


def without_repeats(pairs: Iterable[Pair], seen: set[str]) -> Iterator[Pair]:
    """Yields pairs neither side of which was seen before, and notes in `seen` what they say.

    Example:
        >>> pairs = [Pair("y dijo", "and he said"), Pair("Y dijo:", "And said he:")]
        >>> list(without_repeats(pairs, set()))
        [Pair(spanish='y dijo', english='and he said')]
    """
    for pair in pairs:
        letters = {_NO_LETTERS.sub(" ", side.casefold()).strip() for side in pair}
        if not letters & seen:
            yield pair
        seen |= letters


@cache
def _splits(path: Path) -> Mapping[Split, tuple[Pair, ...]]:
    books = _read(path)
    seen: set[str] = set()
    return {
        split: tuple(
            without_repeats((pair for book, pair in books if split_of(book) == split), seen)
        )
        for split in SPLITS
    }


def _read(path: Path) -> list[tuple[str, Pair]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"the clauses are not in the cache ({path}): fetch them once with "
            "`python -m agents.fetch translation`, 6 MB"
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != PAIRS_SHA256:
        raise ValueError(
            f"{path} must have the SHA-256 {PAIRS_SHA256}, got {found}: remove its folder and "
            "repeat `python -m agents.fetch translation`"
        )
    rows = map(json.loads, content.decode().splitlines())
    pairs = [(row["book"], Pair(row["es"], row["en"])) for row in rows]
    return [(book, pair) for book, pair in pairs if all(map(_is_short, pair))]


def _is_short(text: str) -> bool:
    return FEWEST_WORDS <= len(text.split()) <= MOST_WORDS
