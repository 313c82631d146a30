"""Which tokens were allowed where, without V bits per position.

An environment that restricts its actions reports `info["action_mask"]`, at every step or only where
something is excluded. Few of these masks are distinct, so each is kept once and positions refer to
it by number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ActionMasks(NamedTuple):
    """The tokens allowed at each position.

    Attributes:
        table: The distinct masks, (M, V) bool, True = allowed.
        numbers: Which of them holds at each position, (B, T) int64.
    """

    table: Tensor
    numbers: Tensor


class MaskTable:
    """Numbers distinct masks, and knows the one in force for each row of a vector environment.

    Args:
        n_rows: Rows of the environment.

    Attributes:
        current: The number of the mask in force, per row, (n,); 0 allows everything.
    """

    def __init__(self, n_rows: int) -> None:
        self.current = np.zeros(n_rows, dtype=np.int64)
        self._numbers: dict[bytes, int] = {}
        self._masks = np.zeros((0, 0), dtype=np.bool_)  # room doubles as it fills

    def update(self, infos: dict[str, Any], writing: NDArray[np.bool_] | None = None) -> None:
        """Takes in the masks of one reset or step, of the rows that reported one.

        Args:
            infos: Of the reset or step.
            writing: The rows that go on, (n,); None: all. What others report binds nobody.

        Raises:
            ValueError: If a mask allows nothing.
        """
        if "action_mask" not in infos:
            return
        reported = infos["_action_mask"] if writing is None else infos["_action_mask"] & writing
        masks, rows = infos["action_mask"], np.flatnonzero(reported)
        if not rows.size:
            return
        if not self._numbers:  # number 0: rows that never reported a mask are free
            self._number(np.ones_like(masks[0]))
        if masks.strides[0] == 0:  # one mask broadcast to all rows
            self.current[rows] = self._number(masks[0])
        else:
            self.current[rows] = [self._number(masks[row]) for row in rows]

    def _number(self, mask: NDArray[Any]) -> int:
        allowed = mask.astype(np.bool_)
        if not allowed.any():
            raise ValueError(f"action_mask must allow at least one token, got {mask!r}")
        key = np.packbits(allowed).tobytes()
        if key not in self._numbers:
            number = self._numbers[key] = len(self._numbers)
            if number == len(self._masks):
                room = np.zeros((max(8, 2 * number), len(allowed)), dtype=np.bool_)
                room[:number] = self._masks[:number] if number else False
                self._masks = room
            self._masks[number] = allowed
        return self._numbers[key]

    def __len__(self) -> int:
        """Returns M; 0 until a mask is reported."""
        return len(self._numbers)

    @property
    def table(self) -> Tensor:
        """The distinct masks, (M, V) bool."""
        return torch.from_numpy(self._masks[: len(self)])

    def allowed(self, rows: Sequence[int]) -> Tensor | None:
        """Returns the masks in force for `rows`, (k, V) bool; None: no mask was ever reported."""
        return self.table[torch.from_numpy(self.current[list(rows)])] if len(self) else None

    def at(self, numbers: Tensor) -> ActionMasks | None:
        """Returns the masks that held at positions, by number; None: none was ever reported."""
        return ActionMasks(self.table, numbers) if len(self) else None
