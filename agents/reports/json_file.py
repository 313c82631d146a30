"""JSON files that are whole or not there.

JSON has neither NaN nor infinities: numbers that are not finite are written as null. Knows nothing
of what the files hold.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HALF_CHARACTERS = "backslashreplace"
"""What becomes of a lone surrogate in a file: JSON's own escape of it."""


def finite(value: Any) -> Any:
    """Returns a copy with None in the place of every number that is not finite.

    Example:
        >>> finite({"kl": (1.5, math.nan)})
        {'kl': [1.5, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list | tuple) else value


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    text = json.dumps(finite(content), indent=2, default=str, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")


def write_whole(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", errors=HALF_CHARACTERS) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
