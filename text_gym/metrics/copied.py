"""How much of a text stands in other texts: the longest run of words that was copied.

What a word is stands in `text_gym.words`. Whose the other texts are is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable

from text_gym.words import fold, split_words

_BOUNDARY = "\n"


class Sources:
    """Holds texts that may have been copied from.

    Args:
        texts: Any number; a run of words never reaches from one into the next.

    Example:
        >>> sources = Sources(["the old silent pond", "a frog jumps in"])
        >>> sources.longest_copied("An old, silent pond: a frog!")
        3
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._joined = _BOUNDARY.join(f" {' '.join(split_words(fold(text)))} " for text in texts)

    def longest_copied(self, text: str) -> int:
        """Returns the number of words of the longest run of a text that stands in a source."""
        words = split_words(fold(text))
        longest = 0
        for start in range(len(words)):
            while self._has(words[start : start + longest + 1], longest + 1):
                longest += 1
        return longest

    def _has(self, words: list[str], wanted: int) -> bool:
        return len(words) == wanted and f" {' '.join(words)} " in self._joined
