"""Options that are a name, or, as JSON, several names with what is said of each.

Knows neither what the names are of nor what may be said of them.
"""

from __future__ import annotations

import json
from typing import Any


def named_arguments(text: str, option: str) -> dict[str, Any]:
    """Returns what an option says of each name, in the order of the names.

    Args:
        text: One name, of which nothing is said, `{}`; or a JSON object.
        option: For messages.

    Raises:
        ValueError: If it begins as JSON and says something else, nothing, or a name twice.

    Example:
        >>> named_arguments("ClipFeedback", "wrappers")
        {'ClipFeedback': {}}
        >>> named_arguments('{"a": 2, "b": {"n": 3}}', "reward")
        {'a': 2, 'b': {'n': 3}}
    """
    if not text.lstrip().startswith("{"):
        return {text: {}}
    said = arguments_of(text, option)
    if not said:
        raise ValueError(f"{option} must name at least one, got {text!r}")
    return said


def arguments_of(text: str, option: str) -> dict[str, Any]:
    """Returns the arguments that an option says, by name.

    Raises:
        ValueError: If it is no JSON object, or says a name twice.
    """
    try:
        said = json.loads(text, object_pairs_hook=distinct)
    except ValueError as error:
        raise ValueError(f"{option} must be a name or JSON, got {text!r}: {error}") from error
    if not isinstance(said, dict):
        raise ValueError(f"{option} must be a JSON object, got {text!r}")
    return said


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns pairs as a mapping; raises ValueError if a name is there twice."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"names must be different, got {names}")
    return dict(pairs)
