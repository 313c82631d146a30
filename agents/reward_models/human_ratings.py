"""What real people thought of their conversations, as something to learn from and to try models on.

The conversations of `chitchat-dataset`, split by conversation: of none is one part learnt from and
another tried on. Half of all were given the same 5 on every scale, where the slider stood.
"""

from __future__ import annotations

from agents.supervised.pair_files import Rating
from text_gym.small_talk import RATING_SCALES, Split, rated_conversations


def chitchat_ratings(split: Split, scale: str) -> list[Rating]:
    """Returns conversations with what they were rated: the first turn as prompt, then the others.

    Args:
        split: `"train"` is seven in eight of them; the language model in this package has read them
            too, without the ratings, and none of the others.
        scale: `witty`, `upbeat` or `interesting`.

    Raises:
        ValueError: If the split or the scale is unknown.
        ModuleNotFoundError: If `chitchat-dataset` is not installed.
    """
    if scale not in RATING_SCALES:
        raise ValueError(f"scale must be one of {RATING_SCALES}, got {scale!r}")
    return [
        Rating(one.turns[0], "\n".join(one.turns[1:]), float(one.ratings[scale]), 1.0)
        for one in rated_conversations(split)
    ]
