"""What a person may answer about an item, and what that is in JSON.

Answers name completions by their place in the item, never by the side on which they were shown.
Knows nothing of pages, of rows, or of who answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from text_gym.quoting import quoted

Mode = Literal["compare", "rank", "rate", "correct"]
MODES: tuple[Mode, ...] = ("compare", "rank", "rate", "correct")


@dataclass(frozen=True)
class Preferred:
    """Says that one of two completions is better."""

    completion: int
    """Its place in `Item.completions`."""


@dataclass(frozen=True)
class Tie:
    """Says that two completions are equally good."""


@dataclass(frozen=True)
class BothBad:
    """Says that neither of two completions is acceptable: a tie that also says where it is."""


@dataclass(frozen=True)
class Places:
    """Puts completions in order."""

    places: tuple[int, ...]
    """Of every completion its place, 1 the best; equal ones are tied."""


@dataclass(frozen=True)
class Ratings:
    """Rates a completion on one or several scales."""

    ratings: Mapping[str, int]
    """By the name of the scale."""


@dataclass(frozen=True)
class Correction:
    """Rewrites a completion: a demonstration."""

    text: str


@dataclass(frozen=True)
class Skip:
    """Says nothing about the item; it is not shown to the same person again."""


Answer = Preferred | Tie | BothBad | Places | Ratings | Correction | Skip


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """Returns an answer as a JSON object of one field.

    Example:
        >>> answer_to_json(Preferred(1)), answer_to_json(Places((2, 1, 1))), answer_to_json(Tie())
        ({'preferred': 1}, {'places': [2, 1, 1]}, {'tie': True})
    """
    match answer:
        case Preferred(completion):
            return {"preferred": completion}
        case Tie():
            return {"tie": True}
        case BothBad():
            return {"both_bad": True}
        case Places(places):
            return {"places": list(places)}
        case Ratings(ratings):
            return {"ratings": dict(ratings)}
        case Correction(text):
            return {"correction": text}
        case Skip():
            return {"skip": True}


def answer_from_json(value: Any) -> Answer:
    """Returns the answer that a JSON object spells; see `answer_to_json`.

    Raises:
        ValueError: If it spells none.

    Example:
        >>> answer_from_json({"ratings": {"helpful": 4}})
        Ratings(ratings={'helpful': 4})
    """
    match value:
        case {"preferred": int(completion), **rest} if not rest and _is_number(completion):
            return Preferred(completion)
        case {"tie": True, **rest} if not rest:
            return Tie()
        case {"both_bad": True, **rest} if not rest:
            return BothBad()
        case {"places": [*places], **rest} if not rest and all(map(_is_number, places)):
            return Places(tuple(places))
        case {"ratings": {**ratings}, **rest} if not rest and _are_ratings(ratings):
            return Ratings(dict(ratings))
        case {"correction": str(text), **rest} if not rest:
            return Correction(text)
        case {"skip": True, **rest} if not rest:
            return Skip()
    raise ValueError(
        "an answer must be one of preferred, tie, both_bad, places, ratings, correction, skip, "
        f'as in {{"preferred": 0}}, got {quoted(value)}'
    )


def require_fit(
    answer: Answer, mode: Mode, count: int, scales: Mapping[str, tuple[int, int]]
) -> None:
    """Checks that an answer is one that a mode asks for.

    Args:
        answer: What was said.
        mode: Of the study.
        count: How many completions were shown.
        scales: Lowest and highest number, by the name of the scale.

    Raises:
        ValueError: If it is not; says what it must be.

    Example:
        >>> require_fit(Places((1, 3)), "rank", 2, {})
        Traceback (most recent call last):
        ValueError: places must be 2 numbers from 1 to 2, got (1, 3)
    """
    match mode, answer:
        case _, Skip():
            return
        case "compare", Tie() | BothBad():
            return
        case "compare", Preferred(completion) if completion in range(count):
            return
        case "rank", Places(places):
            if len(places) != count or not set(places) <= set(range(1, count + 1)):
                raise ValueError(f"places must be {count} numbers from 1 to {count}, got {places}")
            return
        case "rate", Ratings(ratings):
            _require_on_scales(ratings, scales)
            return
        case "correct", Correction():
            return
    raise ValueError(f"an answer must suit the mode {mode}, got {quoted(answer)}")


def agrees(answer: Answer, expected: Answer) -> bool:
    """Tells whether an answer is right, given the one that is known to be.

    Of places, the best must be the same; a rating may be one step off; anything else must be equal.

    Example:
        >>> agrees(Places((1, 2, 3)), Places((1, 3, 2))), agrees(Tie(), Preferred(0))
        (True, False)
    """
    match answer, expected:
        case Places(places), Places(known):
            return _best(places) == _best(known)
        case Ratings(ratings), Ratings(known):
            return all(abs(ratings.get(name, 0) - value) <= 1 for name, value in known.items())
    return answer == expected


def _best(places: tuple[int, ...]) -> set[int]:
    return {at for at, place in enumerate(places) if place == min(places)}


def _require_on_scales(ratings: Mapping[str, int], scales: Mapping[str, tuple[int, int]]) -> None:
    if ratings.keys() != scales.keys():
        raise ValueError(
            f"ratings must be on {', '.join(map(quoted, scales))}, got {quoted(dict(ratings))}"
        )
    for name, rating in ratings.items():
        lowest, highest = scales[name]
        if not lowest <= rating <= highest:
            raise ValueError(
                f"a rating on {quoted(name)} must be {lowest} to {highest}, got {rating}"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_ratings(ratings: Mapping[Any, Any]) -> TypeGuard[Mapping[str, int]]:
    return all(isinstance(name, str) for name in ratings) and all(map(_is_number, ratings.values()))
