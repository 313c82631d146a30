"""How much a speaker repeats: the share of n-grams of later turns that an earlier one has.

What a word is stands in `text_gym.words`. Who talks, and to whom, is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence

from text_gym.metrics.distinct import ngrams, require_order


def repeated_across(turns: Sequence[str], n: int) -> float:
    """Returns the share of n-grams of a speaker's later turns that an earlier turn has.

    Args:
        turns: Of one speaker, in order.
        n: Words per n-gram, at least 1.

    Returns:
        The share in all turns but the first, each against those before it; 0 where these have no
        n words.

    Raises:
        ValueError: If `n` is not an integer of at least 1.

    Example:
        >>> repeated_across(["I like cats", "I like dogs, I like dogs"], 2)
        0.4
    """
    require_order(n)
    said: set[tuple[str, ...]] = set()
    repeated = total = 0
    for place, turn in enumerate(turns):
        grams = ngrams(turn, n)
        if place:
            repeated += sum(gram in said for gram in grams)
            total += len(grams)
        said.update(grams)
    return repeated / total if total else 0.0
