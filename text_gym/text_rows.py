"""Texts being written side by side, as arrays of token ids.

Knows where each text ends and how long it may become; neither prompts nor rewards, nor why it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import TokenIds


class TextRows:
    """Holds n texts of up to L tokens, right-padded with 0.

    Args:
        n: Number of rows.
        length: L.

    Attributes:
        input_ids: (n, L) int64.
        attention_mask: (n, L) int8.
    """

    def __init__(self, n: int, length: int) -> None:
        self.input_ids = np.zeros((n, length), dtype=np.int64)
        self.attention_mask = np.zeros((n, length), dtype=np.int8)
        self._flatten()
        # Places in the flat arrays: where each row begins, where its text ends and must end.
        self._first = [row * length for row in range(n)]
        self._end = np.array(self._first)
        self._limit = np.array(self._first)

    def _flatten(self) -> None:
        self._flat_ids = self.input_ids.reshape(-1)
        self._flat_mask = self.attention_mask.reshape(-1)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores a copy, whose flat arrays must be views of its own arrays again."""
        self.__dict__.update(state)
        self._flatten()

    def start(self, row: int, token_ids: TokenIds, room: int) -> None:
        """Makes `token_ids` the whole text of a row, with room for so many more tokens."""
        first = self._first[row]
        end, old_end = first + len(token_ids), int(self._end[row])
        self._flat_ids[first:end] = token_ids
        self._flat_mask[first:end] = 1
        if old_end > end:
            self._flat_ids[end:old_end] = 0
            self._flat_mask[end:old_end] = 0
        self._end[row] = end
        self._limit[row] = end + room

    def append(self, rows: Any, tokens: TokenIds) -> NDArray[np.bool_]:
        """Appends one token to each of `rows`, and returns which of them are full now.

        Args:
            rows: An index array (k,), or a slice of all rows.
            tokens: (k,).
        """
        end = self._end[rows]
        self._flat_ids[end] = tokens
        self._flat_mask[end] = 1
        self._end[rows] = end = end + 1
        full: NDArray[np.bool_] = end == self._limit[rows]
        return full

    def extend(self, row: int, token_ids: TokenIds, room: int | None = None) -> None:
        """Appends several tokens to one row, and gives it room for so many more.

        Args:
            row: Which.
            token_ids: (k,).
            room: None leaves the row's end where it was.
        """
        end = self._end[row] + len(token_ids)
        self._flat_ids[self._end[row] : end] = token_ids
        self._flat_mask[self._end[row] : end] = 1
        self._end[row] = end
        if room is not None:
            self._limit[row] = end + room

    def after(self, row: int, length: int) -> TokenIds:
        """Returns a copy of what a row holds after its first `length` tokens."""
        return self._flat_ids[self._first[row] + length : self._end[row]].copy()

    def observation(self, *, copy: bool) -> dict[str, Any]:
        """Returns all rows, as copies or as read-only views."""
        if copy:
            return {
                "input_ids": self.input_ids.copy(),
                "attention_mask": self.attention_mask.copy(),
            }
        views = (self.input_ids[:], self.attention_mask[:])
        for view in views:
            view.setflags(write=False)
        return {"input_ids": views[0], "attention_mask": views[1]}

    def observations_of(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Returns a copy of each of `rows` by itself."""
        return [
            {
                "input_ids": self.input_ids[row].copy(),
                "attention_mask": self.attention_mask[row].copy(),
            }
            for row in rows
        ]
