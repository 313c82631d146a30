"""Results kept cell by cell, so that a benchmark that was killed goes on where it was.

A cell is whatever is measured at once; its key says all that it depends on, in plain values.
Change a setting, and only the cells that depend on it are measured again. What the code does is no
part of a key: after a change of the code, delete the file. Knows nothing of what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Plain = Mapping[str, Any]


class Cells:
    """Remembers what was found, a line of JSON for each cell.

    Args:
        path: Of the file, which need not exist yet.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     cells = Cells(Path(folder) / "cells.jsonl")
        ...     first = cells.found({"seed": 0}, lambda: {"score": 0.5})
        ...     again = Cells(cells.path).found({"seed": 0}, lambda: {"score": 0.9})
        >>> first, again
        ({'score': 0.5}, {'score': 0.5})
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, Plain] = {}
        for line in _whole_lines(path) if path.exists() else ():
            row = json.loads(line)
            self._found[_name(row["key"])] = row["found"]

    def __contains__(self, key: Plain) -> bool:
        """Says whether a cell has been measured."""
        return _name(key) in self._found

    def found(self, key: Plain, measure: Callable[[], Plain]) -> Plain:
        """Returns what is known of a cell; measures it, and writes it down, if nothing is.

        Args:
            key: All that the cell depends on, in values that JSON can hold.
            measure: Called at most once.
        """
        name = _name(key)
        if name not in self._found:
            self._found[name] = measure()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                row = {"key": key, "found": self._found[name]}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return self._found[name]


def _whole_lines(path: Path) -> list[str]:
    """Returns the lines of a file, and takes from it one that a kill left half written."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return whole.splitlines()


def _name(key: Plain) -> str:
    return json.dumps(key, sort_keys=True)
