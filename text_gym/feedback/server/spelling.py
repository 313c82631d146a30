"""Answers as a person reads them. Texts are called by the letters that stand above them."""

from __future__ import annotations

from itertools import groupby

from text_gym.feedback.answers import (
    Answer,
    BothBad,
    Correction,
    Places,
    Preferred,
    Ratings,
    Skip,
    Tie,
)

_LETTERS = "ABCDE"


def spelt(answer: Answer, order: tuple[int, ...] | None = None) -> str:
    """Returns an answer in words.

    Args:
        answer: Names completions by their place in the item.
        order: In which they were shown; None: that of the item.

    Example:
        >>> spelt(Preferred(0), (1, 0)), spelt(Places((2, 1, 1)))
        ('B is better', 'B = C > A')
    """
    match answer:
        case Preferred(completion):
            return f"{_letter(completion, order)} is better"
        case Tie():
            return "equal"
        case BothBad():
            return "both bad"
        case Places(places):
            ranked = sorted((place, _letter(at, order)) for at, place in enumerate(places))
            groups = (
                [letter for _, letter in tied]
                for _, tied in groupby(ranked, key=lambda one: one[0])
            )
            return " > ".join(map(" = ".join, groups))
        case Ratings(ratings):
            return ", ".join(f"{name} {rating}" for name, rating in ratings.items())
        case Correction(text):
            return text
        case Skip():
            return "skipped"


def _letter(completion: int, order: tuple[int, ...] | None) -> str:
    return _LETTERS[completion if order is None else order.index(completion)]
