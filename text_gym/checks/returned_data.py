"""What an environment returned: kept as it was, compared, overwritten, and its memory traced.

Knows nested mappings, sequences, arrays and `Episode`s; nothing of environments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from gymnasium.utils.env_checker import data_equivalence

from text_gym.episode import Episode


def frozen(data: Any) -> Any:
    """Returns a deep copy of what may change, with dicts and lists for mappings and sequences."""
    if isinstance(data, Mapping):
        return {key: frozen(value) for key, value in data.items()}
    if isinstance(data, tuple | list):
        return [frozen(value) for value in data]
    if isinstance(data, Episode):
        # Not dataclasses.replace: an episode from another process has its text, but no tokenizer.
        parts = {name: frozen(value) for name, value in vars(data).items()}
        return Episode.of_fields({**parts, "passages": data.passages})  # these are read-only
    if not isinstance(data, np.ndarray):
        return data
    copied = data.copy()
    if data.dtype == object:
        for index in np.ndindex(data.shape):
            copied[index] = frozen(data[index])
    return copied


def leaves(data: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields every array and single value in `data` with the path to it."""
    parts = _parts(data, path)
    if parts is None:
        yield path, {} if isinstance(data, Mapping) else data  # of empty ones, any is like another
    else:
        for place, value in parts:
            yield from leaves(value, place)


def _parts(data: Any, path: str) -> list[tuple[str, Any]] | None:
    """Returns what `data` is made of; None if it is a leaf, as is anything empty."""
    if isinstance(data, Mapping) and data:
        return [(f"{path}[{key!r}]", value) for key, value in data.items()]
    if isinstance(data, tuple | list) and data:
        return [(f"{path}[{index}]", value) for index, value in enumerate(data)]
    if isinstance(data, np.ndarray) and data.dtype == object and data.ndim == 1:
        return [(f"{path}[{index}]", value) for index, value in enumerate(data)]
    if isinstance(data, Episode):
        names = [field.name for field in dataclasses.fields(data) if field.name != "decode"]
        return [(f"{path}.{name}", getattr(data, name)) for name in (*names, "completion")]
    return None


def difference(expected: Any, received: Any, path: str, tolerance: float = 0.0) -> str | None:
    """Returns where two values differ first and how, or None; types and dtypes count.

    Args:
        expected: A value.
        received: Another.
        path: What they are called.
        tolerance: How far floating-point numbers may differ, absolutely and relatively.

    Example:
        >>> difference({"a": [1, 2]}, {"a": [1, 3]}, "info")
        "info['a'][1] is 3 instead of 2"
    """
    if data_equivalence(expected, received, exact=True):
        return None
    mine, theirs = dict(leaves(expected, path)), dict(leaves(received, path))
    for place in mine:
        if not any(other.startswith(place) for other in theirs):
            return f"{place} is missing"
    for place in theirs:
        if place not in mine:
            return f"{place} should not be there"
    for place in mine:
        found = _leaf_difference(mine[place], theirs[place], place, tolerance)
        if found is not None:
            return found
    return None


def _leaf_difference(expected: Any, received: Any, path: str, tolerance: float) -> str | None:
    if type(expected) is not type(received):
        return f"{path} is {received!r} instead of {expected!r}"
    if not isinstance(expected, np.ndarray):
        same = _close(np.asarray(expected), np.asarray(received), tolerance)
        return None if same.all() else f"{path} is {received!r} instead of {expected!r}"
    if (expected.shape, expected.dtype) != (received.shape, received.dtype):
        return (
            f"{path} is {received.dtype} of shape {received.shape} instead of {expected.dtype} "
            f"of shape {expected.shape}"
        )
    wrong = np.argwhere(~_close(expected, received, tolerance))
    if not len(wrong):
        return None
    index = tuple(wrong[0].tolist())
    return f"{path}{list(index)} is {received[index]} instead of {expected[index]}"


def _close(expected: Any, received: Any, tolerance: float) -> Any:
    if expected.dtype.kind == "f":
        return np.isclose(expected, received, rtol=tolerance, atol=tolerance, equal_nan=True)
    return np.asarray(expected == received)


def overwrite(data: Any) -> None:
    """Changes every element of every array in `data` that can be written."""
    for _, leaf in leaves(data, ""):
        if isinstance(leaf, np.ndarray) and leaf.flags.writeable:
            if leaf.dtype.kind in "biu":
                np.invert(leaf, out=leaf)
            elif leaf.dtype.kind in "fc":
                leaf += 7


def overlap(data: Any, path: str) -> tuple[str, str] | None:
    """Returns the paths of two arrays in `data` that share memory and can be written, or None."""
    arrays = [
        (place, leaf)
        for place, leaf in leaves(data, path)
        if isinstance(leaf, np.ndarray) and leaf.flags.writeable
    ]
    for (place, array), (other_place, other) in combinations(arrays, 2):
        if np.may_share_memory(array, other) and np.shares_memory(array, other):
            return place, other_place
    return None
