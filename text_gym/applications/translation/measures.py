"""What a translation could be paid for without translating: its length, and what it copies."""

from __future__ import annotations

from collections.abc import Sequence

from text_gym.words import fold, split_words


def length_ratio(translations: Sequence[str], references: Sequence[str]) -> float:
    """Returns the number of words of all translations over that of all references.

    Raises:
        ValueError: If the references have no word.

    Example:
        >>> length_ratio(["the house", "he"], ["the red house", "he"])
        0.75
    """
    words, expected = (
        sum(len(split_words(text)) for text in texts) for texts in (translations, references)
    )
    if not expected:
        raise ValueError("references must have a word, got none")
    return words / expected


def copy_rate(sources: Sequence[str], translations: Sequence[str]) -> float:
    """Returns the share of all words of translations that are words of their sources.

    Names are rightly copied, so that references are to be compared with. 0 if nothing was written.

    Example:
        >>> copy_rate(["y dijo David:", "el cielo"], ["and David said:", "el heaven"])
        0.4
    """
    pairs = [
        (set(split_words(fold(source))), split_words(fold(text)))
        for source, text in zip(sources, translations, strict=True)
    ]
    words = sum(len(written) for _, written in pairs)
    copied = sum(word in source for source, written in pairs for word in written)
    return copied / max(1, words)
