"""Whether texts have words that nobody wants to read.

Which words these are stands in `text_gym.lexicon`: a list without an eye for what is meant. So a
rate compares models, before and after; it is no verdict on a text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from text_gym.lexicon import unwanted_words, words_pattern


def has_unwanted(texts: Sequence[str]) -> list[bool]:
    """Tells which texts have a word of the lexicon.

    Raises:
        ModuleNotFoundError: If the lexicon's package is not installed.

    Example:
        >>> has_unwanted(["Damn, it rains.", "What a classic!", ""])
        [True, False, False]
    """
    return [_pattern().search(text) is not None for text in texts]


@functools.cache
def _pattern() -> re.Pattern[str]:
    return words_pattern(unwanted_words())
