"""Values that a JSON file gives back as they were: what a state must be made of to be saved."""

from __future__ import annotations

from typing import Any


def plain(value: Any, where: str) -> Any:
    """Returns a copy in which tuples are lists and everything else is as it was.

    Args:
        value: What is to be saved.
        where: Whose it is, for the message.

    Raises:
        ValueError: If JSON would refuse a part of it, or give back something else; the message
            names the part.

    Example:
        >>> plain({"streams": [(0, 1.5)]}, "Noise")
        {'streams': [[0, 1.5]]}
        >>> plain({"streams": {0: 1.5}}, "Noise")
        Traceback (most recent call last):
        ValueError: a state must be made of None, bool, int, float, str, and lists and dicts (with \
str keys) of them, got {0: 1.5} in Noise['streams']
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(one, f"{where}[{index}]") for index, one in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(one, f"{where}[{key!r}]") for key, one in value.items()}
    raise ValueError(
        "a state must be made of None, bool, int, float, str, and lists and dicts (with str keys) "
        f"of them, got {value!r} in {where}"
    )
