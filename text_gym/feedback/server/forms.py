"""What the forms of the pages say. Knows the fields of `pages.Judging`, and no rows."""

from __future__ import annotations

from collections.abc import Mapping

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
from text_gym.feedback.config import StudyConfig
from text_gym.quoting import quoted

Form = Mapping[str, str]
_CHOICES: Mapping[str, Answer] = {"skip": Skip(), "tie": Tie(), "both_bad": BothBad()}


def answer_of(form: Form, order: tuple[int, ...], config: StudyConfig) -> Answer:
    """Returns the answer that a form gives, about the completions of the item.

    Args:
        form: As it was sent.
        order: Of the completions, as they were shown.
        config: Says what was asked.

    Raises:
        ValueError: If it gives none.

    Example:
        >>> answer_of({"answer": "left"}, (1, 0), StudyConfig())
        Preferred(completion=1)
    """
    said = form.get("answer", "")
    if said in _CHOICES:
        return _CHOICES[said]
    match config.mode:
        case "compare" if said in ("left", "right"):
            return Preferred(order[said == "right"])
        case "rank" if said == "send":
            places = [_number(form, f"place-{at}") for at in range(1, len(order) + 1)]
            return Places(tuple(places[order.index(at)] for at in range(len(order))))
        case "rate" if said == "send":
            names = [scale.name for scale in config.scales]
            return Ratings({name: _number(form, f"rating-{name}") for name in names})
        case "correct" if said == "send" and "text" in form:
            return Correction(_lines(form["text"]))
    raise ValueError(f"answer must be one that the page offers, got {quoted(said)}")


def strength_of(form: Form) -> int | None:
    """Returns how much better something is, or None if that was left open.

    Raises:
        ValueError: If it is no number.
    """
    return _number(form, "strength") if form.get("strength") else None


def reason_of(form: Form) -> str:
    """Returns the reason, or nothing."""
    return _lines(form.get("reason", "")).strip()


def _number(form: Form, name: str) -> int:
    value = form.get(name, "")
    if not (value.isascii() and value.lstrip("-").isdigit() and len(value) < 9):
        raise ValueError(f"{name} must be a number, got {quoted(value)}")
    return int(value)


def _lines(text: str) -> str:
    """Returns a text with the line ends of a file; browsers send those of mail."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
