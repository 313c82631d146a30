"""Everything that was said, as JSON lines: first each item, then each judgement, one a line.

    {"item": {...}}
    {"judgement": {...}}

Nothing is added up and nothing is left out; what is read is equal to what was written, and what is
written again is equal to what was read, byte for byte. Weights of annotators are not part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from text_gym.feedback.answers import answer_from_json, answer_to_json
from text_gym.feedback.collected import Collected
from text_gym.feedback.formats.json_text import Row, json_lines, read_json_lines, require
from text_gym.feedback.items import Item, item_from_json, item_to_json
from text_gym.feedback.judgements import Judgement
from text_gym.quoting import quoted

_COLUMNS = tuple(one.name for one in fields(Judgement))


def write(collected: Collected) -> Iterator[str]:
    """Yields the lines of the file."""
    yield from json_lines({"item": item_to_json(item)} for item in collected.items)
    yield from json_lines({"judgement": judgement_to_json(one)} for one in collected.judgements)


def read(path: Path) -> Collected:
    """Reads a file.

    Raises:
        OSError: If there is no such file.
        ValueError: If a line is not as said; names line, field and value.
    """
    rows = read_json_lines(path, _row)
    return Collected(
        [row for row in rows if isinstance(row, Item)],
        [row for row in rows if isinstance(row, Judgement)],
    )


def judgement_to_json(one: Judgement) -> dict[str, Any]:
    """Returns a judgement as a JSON object."""
    row = {name: getattr(one, name) for name in _COLUMNS}
    return row | {"order": list(one.order), "answer": answer_to_json(one.answer)}


def judgement_from_json(value: Any) -> Judgement:
    """Returns the judgement that a JSON object spells.

    Raises:
        ValueError: If a field is unknown, missing, or not what it must be.
    """
    if not isinstance(value, dict):
        raise ValueError(f"a judgement must be a JSON object, got {quoted(value)}")
    unknown = [name for name in value if name not in _COLUMNS]
    if unknown:
        raise ValueError(f"a judgement has the fields {', '.join(_COLUMNS)}, got {unknown[0]!r}")
    order = require(value, "order", list)
    if sorted(map(repr, order)) != [repr(at) for at in range(len(order))]:
        raise ValueError(f"order must be the numbers from 0 in some order, got {quoted(order)}")
    return Judgement(
        id=require(value, "id", str),
        annotator=require(value, "annotator", str),
        item=require(value, "item", str),
        order=tuple(order),
        answer=answer_from_json(value.get("answer")),
        shown_at=require(value, "shown_at", float),
        answered_at=require(value, "answered_at", float),
        guideline_version=require(value, "guideline_version", int),
        strength=None if value.get("strength") is None else require(value, "strength", int),
        reason=require(value, "reason", str, ""),
        repeats=None if value.get("repeats") is None else require(value, "repeats", str),
    )


def _row(row: Row) -> Item | Judgement:
    match row:
        case {"item": value, **rest} if not rest:
            return item_from_json(value)
        case {"judgement": value, **rest} if not rest:
            return judgement_from_json(value)
    raise ValueError(f"a row must have one field, item or judgement, got {quoted(dict(row))}")
