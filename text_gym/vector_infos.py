"""Gymnasium's vector infos: for each key an array (n,), and the mask `_key` of its rows.

Knows which rows report what; neither texts nor what a key means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from text_gym.lazy_info import LazyInfo, Unread
from text_gym.task import EncodedPrompt

Reported: TypeAlias = "Sequence[Any] | NDArray[Any] | Mapping[str, NDArray[Any]]"


class RowReport(Unread):
    """Holds what some rows of a vector environment report, until somebody reads it.

    Other rows then hold 0 or None. Every array and mask is made anew for whoever reads, so that
    nobody who changes one changes another.

    Args:
        n: Rows of the environment.
        rows: Those that report, (k,).
        values: By key, what each of them does: an array of numbers (k,); a list of integers, which
            become one, or of objects; or a dict of arrays of numbers, by name.

    Example:
        >>> infos = LazyInfo()
        >>> RowReport(3, np.array([0, 2]), {"prompt_length": [4, 5]}).file(infos)
        >>> infos
        {'prompt_length': array([4, 0, 5]), '_prompt_length': array([ True, False,  True])}
    """

    __slots__ = ("_n", "_rows", "_values")

    def __init__(self, n: int, rows: NDArray[np.intp], values: Mapping[str, Reported]) -> None:
        self._n, self._rows, self._values = n, rows, values

    def file(self, infos: dict[str, Any]) -> None:
        """Adds the keys and their masks to infos that can hold what is unread."""
        for key in self._values:
            infos[key] = infos[f"_{key}"] = self

    def read(self, key: str) -> Any:
        """Returns the array of a key, or a mask."""
        values = self._values.get(key)
        return _mask(self._n, self._rows) if values is None else self._filed(values)

    def _filed(self, values: Reported) -> Any:
        if isinstance(values, Mapping):
            filed: dict[str, Any] = {}
            for name, term in values.items():
                filed[name], filed[f"_{name}"] = self._filed(term), _mask(self._n, self._rows)
            return filed
        if isinstance(values, np.ndarray):
            return _column(self._n, self._rows, values, values.dtype)
        if isinstance(values[0], int | np.integer):
            return _column(self._n, self._rows, values, np.int64)
        objects = np.empty(self._n, dtype=object)
        for row, value in zip(self._rows.tolist(), values, strict=True):
            objects[row] = value
        return objects


class DrawReport(Unread):
    """Holds what the rows that start report of their prompts, until somebody reads it.

    Args:
        n: Rows of the environment.
        rows: Those that start, (k,).
        starts: Their prompts.
    """

    __slots__ = ("_n", "_rows", "_starts")

    def __init__(self, n: int, rows: NDArray[np.intp], starts: Sequence[EncodedPrompt]) -> None:
        self._n, self._rows, self._starts = n, rows, starts

    def file(self, infos: dict[str, Any]) -> None:
        """Adds the keys and their masks to infos that can hold what is unread."""
        infos["prompt_length"] = infos["_prompt_length"] = self
        for key in set().union(*[start.prompt.info for start in self._starts]):
            infos[key] = infos[f"_{key}"] = self

    def read(self, key: str) -> Any:
        """Returns the array of a key, or its mask; not every prompt need report it."""
        name = key.removeprefix("_")
        rows, starts = self._rows, self._starts
        if name == "prompt_length":
            values = [len(start.token_ids) for start in starts]
        else:
            rows = rows[[name in start.prompt.info for start in starts]]
            values = [start.prompt.info[name] for start in starts if name in start.prompt.info]
        return _column(self._n, rows, values, np.int64) if key == name else _mask(self._n, rows)


def _column(n: int, rows: NDArray[np.intp], values: Any, dtype: Any) -> NDArray[Any]:
    """Returns (n,) with the values at `rows`, and 0 elsewhere."""
    column = np.zeros(n, dtype=dtype)
    column[rows] = values
    return column


def _mask(n: int, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    return _column(n, rows, True, np.bool_)


def merged(infos: Mapping[str, Any], others: Mapping[str, Any]) -> LazyInfo:
    """Returns what some rows report and what others do, as one."""
    both = LazyInfo({**others, **infos})
    for key in infos.keys() & others.keys():
        mine, theirs = infos[key], others[key]
        if key.startswith("_"):
            both[key] = mine | theirs
        elif isinstance(mine, dict):
            both[key] = merged(mine, theirs)
        else:
            both[key] = np.where(others[f"_{key}"], theirs, mine)
    return both
