"""Files of one thing a line: where lines end, and what JSON in them may be.

Knows nothing of what a line means.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> Iterator[bytes]:
    """Yields the lines of a file: they end with LF or CR LF; a lone CR is text, a BOM is not."""
    for line in path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n"):
        yield line.removesuffix(b"\r")


def parse_json(line: str) -> Any:
    """Returns the value that a line spells.

    Raises:
        ValueError, RecursionError: If it is no JSON, or one of its texts has half a character.

    Example:
        >>> parse_json('{"prompt": "Hi"}')
        {'prompt': 'Hi'}
    """
    value = json.loads(line)
    json.dumps(value, ensure_ascii=False).encode()  # an escape may spell half a character: no text
    return value
