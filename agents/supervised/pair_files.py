"""Files of pairs: prompts with completions to imitate or rated, or with two that were compared.

JSON lines, one object each. What is wrong with a file is said with its line and field; other fields
than those named here are left alone. This module knows no tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from text_gym.lines import parse_json, read_lines
from text_gym.quoting import quoted

R = TypeVar("R")


class Demonstration(NamedTuple):
    """A completion to imitate."""

    prompt: str
    completion: str
    weight: float
    """How much it counts, above 0."""


class Preference(NamedTuple):
    """Two completions of a prompt, of which one was preferred."""

    prompt: str
    chosen: str
    rejected: str
    margin: float
    """By how much, at least 0, in the unit of whoever said so."""
    weight: float
    """How much the pair counts, above 0."""
    tie: bool = False
    """Whether neither was preferred."""
    side: str = ""
    """Where `chosen` was shown: left or right; empty: it is not known."""


class Rating(NamedTuple):
    """A completion that was rated by itself."""

    prompt: str
    completion: str
    score: float
    """The more, the better."""
    weight: float
    """How much it counts, above 0."""


def read_demonstrations(path: Path) -> list[Demonstration]:
    """Reads lines of `prompt`, `completion` and, if given, `weight` (else 1).

    Raises:
        OSError: If there is no such file.
        ValueError: If it holds no line, or one that is not as said; names line and field.
    """
    return _read(path, _demonstration)


def read_preferences(path: Path) -> list[Preference]:
    """Reads lines of `prompt`, `chosen`, `rejected` and, if given, `margin` (0) and `weight` (1).

    Raises:
        OSError: If there is no such file.
        ValueError: If it holds no line, or one that is not as said; names line and field.
    """
    return _read(path, _preference)


def read_feedback(path: Path) -> list[Preference | Rating]:
    """Reads lines of preferences, ties among them, and of ratings, in any order.

    A preference is as `read_preferences` has it, with `"tie": true` where neither was preferred
    and, if given, `side` (left or right), where `chosen` was shown; a rating has `prompt`,
    `completion`, `score` and, if given, `weight` (else 1) and `scale`.

    Raises:
        OSError: If there is no such file.
        ValueError: If it holds no line, or one that is not as said, or ratings on several scales;
            names line and field.
    """
    scales: set[str] = set()

    def parse(row: Mapping[str, Any]) -> Preference | Rating:
        if "score" not in row:
            return _preference(row, ties=True)
        rating = _rating(row)
        scales.add(str(row.get("scale")))
        if len(scales) > 1:
            raise ValueError(f"scale must be the same of all ratings, got {sorted(scales)}")
        return rating

    return _read(path, parse)


def _read(path: Path, parse: Callable[[Mapping[str, Any]], R]) -> list[R]:
    rows = []
    for number, encoded in enumerate(read_lines(path), start=1):
        try:
            line = encoded.decode()
            if line.strip():
                rows.append(parse(_object(line)))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    if not rows:
        raise ValueError(
            f"{path} must hold at least one pair, a JSON object on each line, got none"
        )
    return rows


def _object(line: str) -> Mapping[str, Any]:
    row = parse_json(line)
    if not isinstance(row, Mapping):
        raise ValueError(f"a pair must be a JSON object, got {quoted(row)}")
    return row


def _demonstration(row: Mapping[str, Any]) -> Demonstration:
    return Demonstration(_text(row, "prompt"), _text(row, "completion"), _weight(row))


def _preference(row: Mapping[str, Any], *, ties: bool = False) -> Preference:
    chosen, rejected = _text(row, "chosen"), _text(row, "rejected")
    if chosen == rejected:
        raise ValueError(f"rejected must differ from chosen, got {quoted(rejected)} for both")
    margin = _number(row, "margin", 0.0)
    if margin < 0:
        raise ValueError(f"margin must be at least 0, got {margin}")
    tie = row.get("tie", False)
    if not isinstance(tie, bool) or (tie and not ties):
        raise ValueError(f"tie must be {'true or ' if ties else ''}false, got {quoted(tie)}")
    side = row.get("side") or ""
    if side not in ("", "left", "right"):
        raise ValueError(f"side must be left or right, got {quoted(side)}")
    return Preference(_text(row, "prompt"), chosen, rejected, margin, _weight(row), tie, side)


def _rating(row: Mapping[str, Any]) -> Rating:
    if row["score"] is None:
        raise ValueError("score must be a finite number, got None")
    score = _number(row, "score", 0.0)
    return Rating(_text(row, "prompt"), _text(row, "completion"), score, _weight(row))


def _text(row: Mapping[str, Any], field: str) -> str:
    if field not in row:
        raise ValueError(f"{field} is missing, got the fields {sorted(row)}")
    text = row[field]
    if not isinstance(text, str):
        raise ValueError(f"{field} must be a text, got {quoted(text)}")
    return text


def _weight(row: Mapping[str, Any]) -> float:
    weight = _number(row, "weight", 1.0)
    if weight <= 0:
        raise ValueError(f"weight must be above 0, got {weight}")
    return weight


def _number(row: Mapping[str, Any], field: str, default: float) -> float:
    """Returns a number; null, as a table without one writes it, stands for the default."""
    value = row.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{field} must be a finite number, got {quoted(value)}")
    return float(value)
