"""Forbidding strings, wherever tokens begin and end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from text_gym.constraints.constraint import TextConstraint
from text_gym.constraints.dfa import DEAD, Dfa, searcher
from text_gym.constraints.wording import checked_texts


@dataclass(frozen=True)
class BannedStrings(TextConstraint):
    """Forbids completions that contain one of several strings.

    However the string is cut into tokens: also where it stands inside a token, or a token completes
    it. Upper and lower case differ. The prompt does not count.

    Args:
        strings: What no completion may contain.

    Raises:
        TypeError: If `strings` is a single string.
        ValueError: If `strings` is empty, or one of them is.

    Example:
        >>> BannedStrings(["http", "www."])
        BannedStrings(strings=('http', 'www.'))
    """

    strings: Iterable[str]

    def __post_init__(self) -> None:
        checked = checked_texts(self.strings, "strings", empty=False)
        object.__setattr__(self, "strings", checked)

    def dfa(self) -> Dfa:
        """Returns the automaton of the texts in which none of the strings ends."""
        table, found = searcher([string.encode() for string in self.strings])
        table[found[table]] = DEAD
        return Dfa(table, np.ones(len(table), dtype=np.bool_))
