"""Forbidding words where they stand by themselves, wherever tokens begin and end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from text_gym.constraints.constraint import TextConstraint
from text_gym.constraints.dfa import DEAD, Dfa, spelling_tree
from text_gym.constraints.wording import checked_texts
from text_gym.lexicon import INSIDE

_LETTERS = np.array([bool(re.fullmatch(f"[{INSIDE}]", chr(byte))) for byte in range(256)])
"""Bytes that are inside a word; those of letters outside ASCII are not."""


@dataclass(frozen=True)
class BannedWords(TextConstraint):
    """Forbids completions in which one of several words, or phrases, stands by itself.

    In upper or lower case, and however it is cut into tokens. `class` may be written where `ass`
    may not: no ASCII letter, digit or underscore may touch what is forbidden. The prompt does not
    count. This is exactly what `text_gym.lexicon.words_pattern` finds.

    With `text_gym.lexicon.unwanted_words`, it takes a second to build for a vocabulary of 2,000,
    and eight for one of 50,000.

    Args:
        words: What no completion may contain, in ASCII.

    Raises:
        TypeError: If `words` is a single string.
        ValueError: If `words` is empty, or one of them is, or has a letter outside ASCII.

    Example:
        >>> BannedWords(["ass", "hand job"])
        BannedWords(words=('ass', 'hand job'))
    """

    words: Iterable[str]

    def __post_init__(self) -> None:
        checked = checked_texts(self.words, "words", empty=False)
        for word in checked:
            if not word.isascii():
                raise ValueError(f"words must be in ASCII, got {word!r}")
        object.__setattr__(self, "words", checked)

    def dfa(self) -> Dfa:
        """Returns the automaton of the texts in which none of the words stands by itself."""
        tree, ends = spelling_tree([word.lower().encode() for word in self.words])
        tree[:, ord("A") : ord("Z") + 1] = tree[:, ord("a") : ord("z") + 1]
        return _without(tree, frozenset(ends))


def _without(tree: np.ndarray[tuple[int, int], np.dtype[np.int32]], ends: frozenset[int]) -> Dfa:
    """Returns the automaton that follows all words at once that may have begun.

    Its states are the sets of places in the tree; the root is among them where a word may begin. A
    place that ends a word forbids everything that would leave it standing by itself.
    """
    numbers = {frozenset({0}): 0}
    rows, accepts = [], []
    for places in (waiting := list(numbers)):  # grows while it is read
        ended = not places.isdisjoint(ends)
        row = []
        for byte, inside in enumerate(_LETTERS.tolist()):
            after = {int(tree[place, byte]) for place in places} - {DEAD}
            target = frozenset(after if inside else after | {0})
            if ended and not inside:
                row.append(DEAD)
                continue
            if target not in numbers:
                numbers[target] = len(waiting)
                waiting.append(target)
            row.append(numbers[target])
        rows.append(row)
        accepts.append(not ended)
    return Dfa(np.array(rows, dtype=np.int32), np.array(accepts, dtype=np.bool_))
