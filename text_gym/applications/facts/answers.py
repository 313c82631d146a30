"""When a reply is right, and when it admits not to know.

A reply is judged by what it says beside the question's own words, so that "The capital of France is
Paris." is as good as "Paris", while a list of guesses is not. Knows strings, not where facts are
from.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence

UNKNOWN = "I don't know"
"""How to say so; a few other ways are understood."""

_UNKNOWN = re.compile(
    r"(?:sorry )?(?:i )?(?:dont know|do not know|am not sure|m not sure|im not sure|not sure)\b"
)
_FUNCTION_WORDS = frozenset(
    [
        *("a", "an", "and", "answer", "are", "as", "by", "called", "for", "in", "is", "it"),
        *("its", "of", "that", "the", "this", "to", "was", "which"),
    ]
)


def plain_words(text: str) -> list[str]:
    """Returns words without what spellings differ in: case, accents, apostrophes, "saint" or "st".

    Example:
        >>> plain_words("Saint-Denis, São Tomé; N'Djamena. Washington, D.C.!")
        ['st', 'denis', 'sao', 'tome', 'ndjamena', 'washington', 'dc']
    """
    letters = text.casefold()
    if not letters.isascii():
        letters = unicodedata.normalize("NFKD", letters)
        letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = re.sub(r"(?<=\w)['’\u02bb.](?=\w)", "", letters)
    return ["st" if word == "saint" else word for word in re.findall(r"\w+", words)]


def is_unknown(reply: str) -> bool:
    """Tells whether a reply admits not to know.

    Example:
        >>> is_unknown(" I don't know."), is_unknown("I'm not sure"), is_unknown("Oslo")
        (True, True, False)
    """
    return _UNKNOWN.match(" ".join(plain_words(reply))) is not None


def is_right(reply: str, question: str, answers: Sequence[str]) -> bool:
    """Tells whether a reply says one accepted answer or more, and nothing beside.

    Args:
        reply: The first line of it counts.
        question: Its words, and words such as "the" or "is", may be repeated.
        answers: Ways to say what is right.

    Example:
        >>> question = "What is the currency of Switzerland?"
        >>> replies = ["It is the Swiss franc.", "Franc", "The currency", "franc or euro"]
        >>> [is_right(reply, question, ["franc", "Swiss franc"]) for reply in replies]
        [True, True, False, False]
    """
    line = reply.strip().split("\n", maxsplit=1)[0]
    silent, accepted = _judging(question, tuple(answers))
    return accepted is not None and accepted.fullmatch(_without(silent, line)) is not None


@functools.lru_cache(maxsize=4096)  # more than there are questions
def _judging(
    question: str, answers: tuple[str, ...]
) -> tuple[frozenset[str], re.Pattern[str] | None]:
    """Returns words that do not count, and what the others must be; None if no answer is left."""
    asked = frozenset(plain_words(question))
    forms = {form for answer in answers if (form := _without(asked, answer))}
    silent = asked | (_FUNCTION_WORDS - {word for form in forms for word in form.split()})
    pattern = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
    return silent, re.compile(rf"(?:(?:{pattern})(?: |$))+") if forms else None


def mentions(reply: str, answers: Sequence[str]) -> bool:
    """Tells whether an accepted answer stands somewhere in a reply, whatever else does.

    Example:
        >>> mentions("It is Paris, or Lyon.", ["Paris"]), mentions("Parisian", ["Paris"])
        (True, False)
    """
    said = f" {' '.join(plain_words(reply))} "
    return any(f" {' '.join(plain_words(answer))} " in said for answer in answers)


def gives_away(question: str, answer: str) -> bool:
    """Tells whether all words of an answer stand in the question."""
    return not _without(frozenset(plain_words(question)), answer)


def _without(words: frozenset[str], text: str) -> str:
    return " ".join(word for word in plain_words(text) if word not in words)
