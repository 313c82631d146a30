"""Texts being written side by side, as arrays of token ids.

Knows where each text ends and how long it may become; neither prompts nor rewards, nor why it ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import TokenIds

ONE = np.array(1)
"""As numpy would make an array of a number, on every step."""

MOST_KEPT = 2**20
"""Tokens of prompts that are kept ready, 9 bytes each."""


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
        # Places in the flat arrays: where each row begins and its prompt ends, where its text ends
        # and must end.
        self._first = [row * length for row in range(n)]
        self._prompt_end = list(self._first)
        self._end = np.array(self._first)
        self._limit = np.array(self._first)
        self._flatten()

    def _flatten(self) -> None:
        self._flat_ids = self.input_ids.reshape(-1)
        self._flat_mask = self.attention_mask.reshape(-1)
        # Prompts as whole rows, by identity: to copy two takes half as long as to fill them.
        self._whole: dict[int, tuple[TokenIds, TokenIds, NDArray[np.int8]]] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores a copy, whose flat arrays must be views of its own arrays again."""
        self.__dict__.update(state)
        self._flatten()

    def start(self, row: int, token_ids: TokenIds, room: int) -> None:
        """Makes `token_ids` the whole text of a row, with room for so many more tokens.

        They must not change afterwards.
        """
        kept = self._whole.get(id(token_ids))
        if kept is None or kept[0] is not token_ids:
            kept = self._keep(token_ids)
        self.input_ids[row], self.attention_mask[row] = kept[1], kept[2]
        self._end[row] = self._prompt_end[row] = end = self._first[row] + len(token_ids)
        self._limit[row] = end + room

    def _keep(self, token_ids: TokenIds) -> tuple[TokenIds, TokenIds, NDArray[np.int8]]:
        """Returns a prompt, and whole rows with nothing else; keeps those of the latest."""
        input_ids = np.zeros_like(self.input_ids[0])
        attention_mask = np.zeros_like(self.attention_mask[0])
        input_ids[: len(token_ids)] = token_ids
        attention_mask[: len(token_ids)] = 1
        if len(self._whole) * len(input_ids) > MOST_KEPT:
            self._whole.clear()
        kept = self._whole[id(token_ids)] = (token_ids, input_ids, attention_mask)
        return kept

    def append(self, rows: Any, tokens: TokenIds) -> NDArray[np.bool_]:
        """Appends one token to each of `rows`, and returns which of them are full now.

        Args:
            rows: An index array (k,), or a slice of all rows.
            tokens: (k,).
        """
        end = self._end[rows]
        self._flat_ids[end] = tokens
        self._flat_mask[end] = 1
        self._end[rows] = end = end + ONE
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

    def completions(self, rows: NDArray[np.intp]) -> list[TokenIds]:
        """Returns copies of what each of `rows` holds after its prompt."""
        ids, prompt_end, ends = self._flat_ids, self._prompt_end, self._end[rows].tolist()
        return [
            ids[prompt_end[row] : end].copy() for row, end in zip(rows.tolist(), ends, strict=True)
        ]

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

    def observations_of(self, rows: NDArray[np.intp]) -> list[dict[str, Any]]:
        """Returns a copy of each of `rows` by itself."""
        return [
            {
                "input_ids": self.input_ids[row].copy(),
                "attention_mask": self.attention_mask[row].copy(),
            }
            for row in rows.tolist()
        ]
