"""Gymnasium's vector infos: for each key an array (n,), and the mask `_key` of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RowInfos:
    """Files values for some rows of a vector environment; other rows hold 0 or None.

    Every array and mask filed is a new one, so that nobody who changes one changes another.

    Args:
        n: Rows of the environment.
        rows: The rows that have values, in the order in which values will be given.

    Attributes:
        rows: The same as an index array, (k,).
        mask: True at these rows, (n,).
    """

    def __init__(self, n: int, rows: Sequence[int]) -> None:
        self._n = n
        self._listed = rows
        self.rows = np.array(rows, dtype=np.intp)
        self.mask = np.zeros(n, dtype=np.bool_)
        self.mask[self.rows] = True

    def numbers(self, infos: dict[str, Any], key: str, values: Any, dtype: Any) -> None:
        """Files one number per row."""
        array = np.zeros(self._n, dtype=dtype)
        array[self.rows] = values
        infos[key], infos[f"_{key}"] = array, self.mask.copy()

    def objects(self, infos: dict[str, Any], key: str, values: Sequence[Any]) -> None:
        """Files one object per row."""
        array = np.empty(self._n, dtype=object)
        for row, value in zip(self._listed, values, strict=True):
            array[row] = value
        infos[key], infos[f"_{key}"] = array, self.mask.copy()

    def terms(
        self, infos: dict[str, Any], key: str, terms: Mapping[str, NDArray[np.float64]]
    ) -> None:
        """Files a dict of numbers per row, given by name, as a dict of arrays."""
        filed: dict[str, Any] = {}
        for name, values in terms.items():
            self.numbers(filed, name, values, np.float64)
        infos[key], infos[f"_{key}"] = filed, self.mask.copy()


def merged(infos: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what some rows report and what others do, as one."""
    both = {**others, **infos}
    for key in infos.keys() & others.keys():
        mine, theirs = infos[key], others[key]
        if key.startswith("_"):
            both[key] = mine | theirs
        elif isinstance(mine, dict):
            both[key] = merged(mine, theirs)
        else:
            both[key] = np.where(others[f"_{key}"], theirs, mine)
    return both
