"""A fact to ask for, and which split it is in. Knows no data and no environment."""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple, TypeAlias, get_args

Split: TypeAlias = Literal["train", "heldout"]

HELDOUT_PERCENT = 40
"""Of the subjects. What matters is what is known of others, so that many are needed to tell."""


class Fact(NamedTuple):
    """A question, and the ways to say its answer, the first of which is the usual one."""

    kind: str
    subject: str
    """Whom or what it is about: all questions about it are in one split."""
    question: str
    answers: tuple[str, ...]


def split_of(subject: str) -> Split:
    """Assigns a subject to a split by a hash of its name, the same on every machine.

    Example:
        >>> split_of("France"), split_of("Gold")
        ('train', 'heldout')
    """
    percentile = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8]) % 100
    return "heldout" if percentile < HELDOUT_PERCENT else "train"


def require_split(split: str) -> None:
    """Raises ValueError unless there is such a split."""
    if split not in get_args(Split):
        raise ValueError(f"split must be one of {get_args(Split)}, got {split!r}")
