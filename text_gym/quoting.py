"""Values in error messages: quoted so that a megabyte does not fill the screen."""

from __future__ import annotations

from typing import Any


def quoted(value: Any, limit: int = 100) -> str:
    """Returns the repr of a value; of a text, that of its first `limit` characters.

    Example:
        >>> quoted("How are you?"), quoted("How are you?", 3)
        ("'How are you?'", "'How'... (12 characters)")
    """
    if isinstance(value, str):
        cut = "" if len(value) <= limit else f"... ({len(value):,} characters)"
        return f"{value[:limit]!r}{cut}"
    shown = repr(value)
    return shown if len(shown) <= limit else f"{shown[:limit]}..."
