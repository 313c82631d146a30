"""JSON as the formats spell it, and errors that name the line, the field and the value.

Knows nothing of what a row means.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from text_gym.lines import parse_json, read_lines
from text_gym.quoting import quoted

Row = Mapping[str, Any]
Parsed = TypeVar("Parsed")
Kind = TypeVar("Kind")


def json_lines(rows: Iterable[Row]) -> Iterator[str]:
    r"""Yields each row as a line of JSON.

    Example:
        >>> list(json_lines([{"prompt": "Où ?"}]))
        ['{"prompt": "Où ?"}\n']
    """
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"


def json_array(rows: Iterable[Row]) -> Iterator[str]:
    """Yields rows as one JSON array, a row a line."""
    separator = "[\n"
    for row in rows:
        yield separator + json.dumps(row, ensure_ascii=False)
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def read_json_lines(path: Path, parse: Callable[[Row], Parsed]) -> list[Parsed]:
    """Reads a file of one JSON object a line; lines without anything on them are passed over.

    Raises:
        OSError: If there is no such file.
        ValueError: If a line is no object, or not what `parse` takes; names file and line.
    """
    parsed = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            parsed.append(parse(_object(parse_json(line.decode()))))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return parsed


def read_json_array(path: Path, parse: Callable[[Row], Parsed]) -> list[Parsed]:
    """Reads a file that is one JSON array of objects.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is no array, or an object is not what `parse` takes; names its place.
    """
    try:
        rows = parse_json(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} must hold a JSON array, got {quoted(rows)}")
    parsed = []
    for number, row in enumerate(rows, 1):
        try:
            parsed.append(parse(_object(row)))
        except ValueError as error:
            raise ValueError(f"{path}, entry {number}: {error}") from error
    return parsed


def require(row: Row, name: str, kind: type[Kind], default: Kind | None = None) -> Kind:
    """Returns a field of an object.

    Args:
        row: The object.
        name: Of the field.
        kind: Of its value; a whole number is a `float` too, True and False are no numbers.
        default: If there is no such field, or null in it; None: there has to be one.

    Raises:
        ValueError: If it is missing or of another kind; names field and value.

    Example:
        >>> require({"weight": 2}, "weight", float, 1.0)
        2.0
    """
    value = row.get(name)
    if value is None and default is not None:
        return default
    if name not in row:
        raise ValueError(f"{name} is missing, got the fields {', '.join(sorted(row))}")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} must be a {kind.__name__}, got {quoted(value)}")
    return value


def _object(value: Any) -> Row:
    if not isinstance(value, Mapping):
        raise ValueError(f"a row must be a JSON object, got {quoted(value)}")
    return value
