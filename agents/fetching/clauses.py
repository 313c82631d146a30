"""Clauses that say the same in two languages, out of verses that do.

Where both languages have equally many marks of punctuation, a verse falls into as many pairs of
clauses. Whether two clauses belong together is told by the numbers of the Hebrew and Greek words
that editors have put beside the words of both (Strong's numbers); no dictionary is needed. The
module knows OSIS markup, but no book and no language.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

MARKS = (".;:?!", ",")
"""Marks at which a verse falls apart; each clause once more at those that come after."""
AGREEMENT = 0.6
"""Least share of the original's words that two clauses must have in common."""

_NOT_READ = re.compile(r"<(note|title)\b[^>]*>.*?</\1>|<(note|title)\b[^>]*/>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_NUMBER = re.compile(r"strong:([GH]\d+)")


def pairs_of_clauses(verse: str, other: str) -> Iterator[tuple[str, str]]:
    """Yields the clauses of two verses that belong together, as plain text.

    Args:
        verse: With its markup.
        other: The same verse in another language.

    Example:
        >>> one = '<w lemma="strong:H1">Padre</w>, <w lemma="strong:H2">ven</w>.'
        >>> two = '<w lemma="strong:H1">Father</w>, <w lemma="strong:H2">come</w>.'
        >>> list(pairs_of_clauses(one, two))
        [('Padre,', 'Father,'), ('ven.', 'come.')]
    """
    ours, theirs = (_NOT_READ.sub("", text).replace("¶", "") for text in (verse, other))
    for one, two in _in_parallel(ours, theirs, MARKS):
        if plain(one) and plain(two) and agreement(one, two) >= AGREEMENT:
            yield plain(one), plain(two)


def agreement(one: str, two: str) -> float:
    """Returns the Dice coefficient of the Strong's numbers in two texts; 0 if there are none.

    Example:
        >>> agreement('<w lemma="strong:H1 strong:H2">a</w>', '<w lemma="strong:H1">b</w>')
        0.6666666666666666
    """
    ours, theirs = (Counter(_NUMBER.findall(text)) for text in (one, two))
    return 2 * (ours & theirs).total() / max(1, ours.total() + theirs.total())


def plain(text: str) -> str:
    """Returns a text without markup, its white space collapsed.

    Example:
        >>> plain('<w lemma="strong:H1">Padre</w>,  ven ')
        'Padre, ven'
    """
    return " ".join(_TAG.sub("", text).split())


def _in_parallel(one: str, two: str, levels: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yields the parts of two texts that stand in the same place."""
    if not levels:
        yield one, two
        return
    ours, theirs = (_split(text, levels[0]) for text in (one, two))
    if len(ours) != len(theirs):
        yield one, two
        return
    for a, b in zip(ours, theirs, strict=True):
        yield from _in_parallel(a, b, levels[1:])


def _split(text: str, marks: str) -> list[str]:
    """Returns the parts of a text that end with one of the marks and white space, outside tags."""
    after_mark = re.compile(rf"(?<=[{re.escape(marks)}])(?=(?:<[^>]*>)*\s)(?![^<]*>)")
    return [part for part in after_mark.split(text) if plain(part)]
