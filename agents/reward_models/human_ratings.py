"""What real people thought of their conversations, as something to learn from and to try models on.

The conversations of `chitchat-dataset`, split by conversation: of none is one part learnt from and
another tried on. Half of all were given the same 5 on every scale, where the slider stood.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from agents.supervised.pair_files import Rating
from text_gym.small_talk import RATING_SCALES, RatedConversation, Split, rated_conversations


def chitchat_ratings(split: Split, *scales: str) -> list[Rating]:
    """Returns conversations with what they were rated: the first turn as prompt, then the others.

    Args:
        split: `"train"` is seven in eight of them; the language model in this package has read them
            too, without the ratings, and none of the others.
        *scales: `witty`, `upbeat` or `interesting`; of several, the mean counts.

    Raises:
        ValueError: If the split or a scale is unknown, or none is named.
        ModuleNotFoundError: If the package with the conversations is missing; names the extra.
    """
    if not scales or not set(scales) <= set(RATING_SCALES):
        raise ValueError(f"scales must be one or more of {RATING_SCALES}, got {scales!r}")
    return [
        Rating(one.turns[0], "\n".join(one.turns[1:]), _mean(one, scales), 1.0)
        for one in rated_conversations(split)
    ]


def _mean(one: RatedConversation, scales: Sequence[str]) -> float:
    return fmean(one.ratings[scale] for scale in scales)
