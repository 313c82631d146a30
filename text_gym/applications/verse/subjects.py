"""What poems are asked to be about, and a small vocabulary to write them in.

Both were written for this project. This module knows no form, no dictionary and no model.
"""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

Split: TypeAlias = Literal["train", "heldout"]

HELDOUT_PERCENT = 25

SUBJECTS: tuple[str, ...] = (
    *("sun", "moon", "star", "sky", "cloud", "wind", "storm", "rain", "snow", "frost"),
    *("spring", "summer", "autumn", "winter", "morning", "evening", "night", "day", "dawn", "hour"),
    *("sea", "river", "water", "wave", "shore", "island", "mountain", "hill", "valley", "stone"),
    *("earth", "dust", "sand", "garden", "field", "forest", "tree", "leaf", "flower", "rose"),
    *("grass", "root", "seed", "fruit", "bird", "crow", "lark", "eagle", "horse", "dog"),
    *("wolf", "lion", "snake", "fish", "bee", "deer", "lamb", "fire", "flame", "smoke"),
    *("light", "shadow", "darkness", "silence", "music", "song", "voice", "bell", "drum", "dance"),
    *("heart", "hand", "eye", "face", "tongue", "blood", "breath", "tear", "soul", "body"),
    *("love", "hope", "joy", "grief", "sorrow", "fear", "anger", "pride", "shame", "pity"),
    *("friend", "enemy", "mother", "father", "brother", "sister", "daughter", "child", "king"),
    *("queen", "soldier", "stranger", "beggar", "thief", "fool", "ghost", "death", "grave"),
    *("sleep", "dream", "memory", "time", "youth", "age", "beauty", "truth", "honour", "fortune"),
    *("war", "peace", "sword", "crown", "gold", "ring", "letter", "book", "mirror", "door"),
    *("window", "house", "tower", "road", "journey", "ship", "sail", "bread", "wine", "cup"),
)

WORDS: tuple[str, ...] = (
    *("a", "the", "my", "your", "our", "his", "her", "its", "this", "that", "every", "no"),
    *("i", "you", "he", "she", "we", "they", "it", "who", "what", "and", "or", "but", "not"),
    *("in", "on", "of", "to", "from", "with", "by", "under", "over", "upon", "into", "through"),
    *("is", "are", "was", "will", "comes", "goes", "falls", "rises", "sings", "waits", "sleeps"),
    *("old", "new", "cold", "white", "dark", "bright", "quiet", "silent", "golden", "gentle"),
    *("again", "away", "alone", "only", "never", "always", "now", "then", "here", "there"),
)
"""What else there is to say: with `SUBJECTS`, the vocabulary of the environment."""


def subjects(split: Split) -> list[str]:
    """Returns the subjects of one split, in their order.

    Raises:
        ValueError: If there is no such split.
    """
    if split not in ("train", "heldout"):
        raise ValueError(f"split must be 'train' or 'heldout', got {split!r}")
    return [subject for subject in SUBJECTS if split_of(subject) == split]


def split_of(subject: str) -> Split:
    """Assigns a subject to a split by a hash of it, the same on every machine.

    Example:
        >>> split_of("night"), split_of("sea")
        ('train', 'train')
    """
    percentile = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8]) % 100
    return "heldout" if percentile < HELDOUT_PERCENT else "train"
