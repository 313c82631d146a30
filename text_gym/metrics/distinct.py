"""How varied texts are: the share of distinct n-grams.

What a word is stands in `text_gym.words`; who wrote the texts, and to what, is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence

from text_gym.words import fold, split_words


def distinct_n(texts: Sequence[str], n: int, *, without: float = 0.0) -> float:
    """Returns the share of distinct n-grams among all those of the texts together.

    The grams are of words, as `text_gym.words` has them, whatever their case, and lie within one
    text each.

    Source: Li et al. 2016, "A diversity-promoting objective function for neural conversation
    models", arXiv:1510.03055; over the number of n-grams, where the paper divides by the number of
    words.

    Args:
        texts: Any number.
        n: Words per n-gram, at least 1.
        without: Returned where no text has n words.

    Raises:
        ValueError: If `n` is not an integer of at least 1.

    Example:
        >>> distinct_n(["So good!", "so good", "so bad"], 2)
        0.6666666666666666
    """
    require_order(n)
    grams = [gram for text in texts for gram in ngrams(text, n)]
    return len(set(grams)) / len(grams) if grams else without


def require_order(n: int) -> None:
    """Checks the number of words of an n-gram.

    Raises:
        ValueError: If it is not an integer of at least 1.
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n must be an integer of at least 1, received {n!r}")


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """Returns the n-grams of the words of a text, whatever their case."""
    words = split_words(fold(text))
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
