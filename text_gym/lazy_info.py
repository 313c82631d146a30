"""An info whose costly values are computed when they are first read.

Gymnasium hands an `info` dict through every wrapper and vector on every step, whether anyone reads
it or not. This module knows nothing of masks or environments.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, ValuesView
from copy import deepcopy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class Unread:
    """Stands in an info for one value or several until they are read."""

    __slots__ = ()

    def read(self, key: str) -> Any:
        """Returns the value of `key`, the reader's own."""
        raise NotImplementedError

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Returns itself: what it gives does not change, and nobody has read it yet."""
        return self


class Deferred(Unread):
    """An array that is computed when it is first read, and once.

    Args:
        compute: Gives the array; it must not depend on when it is called.
    """

    __slots__ = ("_compute", "_value")

    def __init__(self, compute: Callable[[], NDArray[Any]]) -> None:
        self._compute: Callable[[], NDArray[Any]] | None = compute
        self._value: NDArray[Any] | None = None

    @property
    def value(self) -> NDArray[Any]:
        """The array itself, which must not be written to."""
        if self._compute is not None:
            self._value, self._compute = self._compute(), None
        assert self._value is not None
        return self._value

    def read(self, key: str = "") -> NDArray[Any]:
        """Returns the array: the reader's own, unless it repeats one row and is read-only."""
        return self.value if self.value.strides[0] == 0 else np.array(self.value)


class LazyInfo(dict[str, Any]):
    """A dict in which `Unread` values are replaced by what they stand for when they are read.

    Copies, shallow or deep, stay unread; pickles hold the arrays.

    Example:
        >>> info = LazyInfo(answer=Deferred(lambda: np.arange(3)), other=1)
        >>> "answer" in info, len(info), info["answer"].tolist()
        (True, 2, [0, 1, 2])
    """

    __slots__ = ()

    @classmethod
    def of(cls, info: dict[str, Any]) -> LazyInfo:
        """Returns a lazy copy of any info."""
        return info.copy() if isinstance(info, LazyInfo) else cls(info)

    def __getitem__(self, key: str) -> Any:
        """Returns the value of `key`, computed if need be."""
        value = super().__getitem__(key)
        if isinstance(value, Unread):
            value = value.read(key)
            self[key] = value
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """Returns the value of `key`, or the default."""
        value = super().get(key, default)
        return self[key] if isinstance(value, Unread) else value

    def pop(self, key: str, *default: Any) -> Any:
        """Removes `key` and returns its value, or the default."""
        value = super().pop(key, *default)
        return value.read(key) if isinstance(value, Unread) else value

    def popitem(self) -> tuple[str, Any]:
        """Removes the last key and returns it with its value."""
        key = next(reversed(self))
        return key, self.pop(key)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Returns the value of `key`, which is the default if it had none."""
        super().setdefault(key, default)
        return self[key]

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # dict has a type of its own
        """Returns keys and values, computed."""
        return self._read().items()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # dict has a type of its own
        """Returns the values, computed."""
        return self._read().values()

    def __iter__(self) -> Iterator[str]:
        """Iterates over the keys. Defined so that `dict(info)` and `{**info}` read the values."""
        return super().__iter__()

    def copy(self) -> LazyInfo:
        """Returns a copy in which what was not read is not read yet."""
        copied = LazyInfo()
        for key in self:
            copied[key] = super().__getitem__(key)
        return copied

    __copy__ = copy

    def __eq__(self, other: object) -> bool:
        """Compares the values."""
        return self._read() == other

    __hash__ = None  # as of any dict

    def __or__(self, other: Any) -> Any:
        """Merges the values with those of another dict."""
        return self._read() | dict(other)

    def __ror__(self, other: Any) -> Any:
        """Merges another dict with the values."""
        return dict(other) | self._read()

    def __repr__(self) -> str:
        """Shows the values."""
        return repr(self._read())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as a plain dict of the values."""
        return dict, (self._read(),)

    def _read(self) -> dict[str, Any]:
        return {key: self[key] for key in self}

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyInfo:
        """Returns a deep copy in which what was not read is not read yet."""
        copied = LazyInfo()
        for key in self:
            copied[key] = deepcopy(super().__getitem__(key), memo)
        return copied
