"""Values that a JSON file gives back as they were: what a state must be made of to be saved.

And whether what a file gave back has the form of what was saved. Knows no files.
"""

from __future__ import annotations

import math
from typing import Any

_KINDS: dict[str, Any] = {
    "bool": (bool,),
    "number": (int, float),
    "text": (str,),
    "list": (list,),
    "dict": (dict,),
}


def plain(value: Any, where: str) -> Any:
    """Returns a copy in which tuples are lists and everything else is as it was.

    Args:
        value: What is to be saved.
        where: Whose it is, for the message.

    Raises:
        ValueError: If JSON would refuse a part of it (NaN and infinities, which have no name in
            JSON, included), or give back something else; the message names the part.

    Example:
        >>> plain({"streams": [(0, 1.5)]}, "Noise")
        {'streams': [[0, 1.5]]}
        >>> plain({"streams": {0: 1.5}}, "Noise")
        Traceback (most recent call last):
        ValueError: a state must be made of None, bool, int, finite float, str, and lists and \
dicts (with str keys) of them, got {0: 1.5} in Noise['streams']
    """
    if isinstance(value, float) and math.isfinite(value):
        return value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(one, f"{where}[{index}]") for index, one in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(one, f"{where}[{key!r}]") for key, one in value.items()}
    raise ValueError(
        "a state must be made of None, bool, int, finite float, str, and lists and dicts (with str "
        f"keys) of them, got {value!r} in {where}"
    )


def require_form(value: Any, like: Any, where: str) -> None:
    """Checks that a value is of the same kind as another, in all its parts.

    Args:
        value: As it was read.
        like: A number stands for any finite number, None for anything, a dict for the same keys (an
            empty one for any), a list of one value for any number of such values.
        where: What was read, for the message.

    Raises:
        ValueError: If it is not; the message names the part.

    Example:
        >>> require_form({"rates": [1e-3, "high"]}, {"rates": [0.0]}, "agent")
        Traceback (most recent call last):
        ValueError: agent['rates'][1] must be a number, got 'high'
    """
    if like is None:
        return
    kind, kinds = next(one for one in _KINDS.items() if isinstance(like, one[1]))
    differs = not isinstance(value, kinds) or isinstance(value, bool) != isinstance(like, bool)
    if differs or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{where} must be a {kind}, got {value!r:.100}")
    if isinstance(like, dict):
        if like and like.keys() != value.keys():
            raise ValueError(f"{where} must have the keys {sorted(like)}, got {sorted(value)}")
        for key, one in like.items():
            require_form(value[key], one, f"{where}[{key!r}]")
    elif isinstance(like, list):
        for index, one in enumerate(value):
            require_form(one, like[0], f"{where}[{index}]")
