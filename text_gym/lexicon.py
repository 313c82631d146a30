"""Words that nobody wants to read, from a package's lexicon, and how words are found in a text.

A word counts where it stands by itself: no ASCII letter, digit or underscore touches it. Upper and
lower case are one. Nothing here knows what is done about a text that has one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from importlib.resources import files

INSIDE = "0-9A-Za-z_"
"""Characters that belong to a word: what stands between two of them is no boundary."""


@functools.cache
def unwanted_words() -> tuple[str, ...]:
    """Returns the profanities of better-profanity's English list, phrases included.

    The list is broad: it has mild oaths, insults and words of anatomy, whatever they mean where
    they stand.

    Raises:
        ModuleNotFoundError: If the package `better_profanity` is not installed.

    Example:
        >>> "damn" in unwanted_words(), "table" in unwanted_words()
        (True, False)
    """
    try:
        listed = files("better_profanity").joinpath("profanity_wordlist.txt")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "unwanted words come from better_profanity, which is not installed: "
            "pip install 'text-gym[safety]'"
        ) from error
    return tuple(filter(None, map(str.strip, listed.read_text(encoding="utf-8").splitlines())))


def words_pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Returns a pattern that finds any of some words, or phrases.

    Letters outside ASCII do not continue a word, so that nothing is hidden by an accent.

    Example:
        >>> pattern = words_pattern(["ass", "hand job"])
        >>> [bool(pattern.search(text)) for text in ("What an ASS!", "class", "a hand job")]
        [True, False, True]
    """
    either = "|".join(map(re.escape, sorted(set(words), key=len, reverse=True)))
    return re.compile(rf"(?<![{INSIDE}])(?:{either})(?![{INSIDE}])", re.IGNORECASE | re.ASCII)
