"""Keys and values of texts that start and end at different times.

All rows write the next token at the same slot, the head, so a step appends with one slice
assignment per layer. The text of a row occupies the slots that end at the head; a row that takes a
new prompt has it written just before the head, over the text that ended. This works for any Hugging
Face model whose layers attend to all earlier tokens, since positions are baked into keys when they
are computed, not when they are read.

This module knows nothing of policies, sampling or environments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin


class Window(NamedTuple):
    """Slots that a step attends to wherever the head is among them, so that its shapes stay.

    Attributes:
        first: The first of them.
        stop: The one after the last.
        head: Where the step writes, (1,), on the device.
    """

    first: int
    stop: int
    head: Tensor


class _Slots:
    """Counts the slots in use, for all layers and rows alike: [first, head)."""

    def __init__(self, head: int) -> None:
        self.first = head
        self.head = head
        self.window: Window | None = None


class _RowLayer(CacheLayerMixin):
    """Keeps one layer's keys and values in two buffers of shape (B, heads, 2 * L, head size)."""

    is_sliding = False

    def __init__(self, slots: _Slots, n_rows: int, max_length: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._slots = slots
        self._n_rows = n_rows
        self._max_length = max_length
        self._buffers: list[Tensor] = []

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocates the buffers; zeros, because a masked NaN would still spread."""
        self._buffers = [
            states.new_zeros(self._n_rows, states.shape[1], 2 * self._max_length, states.shape[3])
            for states in (key_states, value_states)
        ]
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes one token per row at the head and returns the slots in use."""
        first, head, window = self._slots.first, self._slots.head, self._slots.window
        keys, values = self._buffers
        if window is not None:
            keys.index_copy_(2, window.head, key_states.to(keys.dtype))
            values.index_copy_(2, window.head, value_states.to(values.dtype))
            return keys[:, :, window.first : window.stop], values[:, :, window.first : window.stop]
        keys[:, :, head : head + 1] = key_states
        values[:, :, head : head + 1] = value_states
        return keys[:, :, first : head + 1], values[:, :, first : head + 1]

    def insert(self, rows: Tensor, key_states: Tensor, value_states: Tensor) -> None:
        """Writes whole prompts (k, heads, P, head size) so that they end at the head."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self._slots.head - key_states.shape[2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[rows, :, start : self._slots.head] = states

    def copy(self, to: Tensor, target: slice, of: Tensor, source: slice) -> None:
        """Copies slots of some rows to slots of others."""
        for buffer in self._buffers:
            buffer[to, :, target] = buffer[of, :, source]

    def taken(self, rows: Tensor, n_slots: int) -> tuple[Tensor, Tensor]:
        """Returns copies of the last S slots in use of some rows, (k, heads, S, head size) each."""
        keys, values = (
            buffer[rows, :, self._slots.head - n_slots : self._slots.head]
            for buffer in self._buffers
        )
        return keys, values

    def keep(self, rows: Tensor) -> None:
        """Drops all rows but these."""
        self._buffers = [buffer[rows] for buffer in self._buffers]

    def move_to_front(self) -> None:
        """Frees the back half: no row is longer than the front half."""
        for buffer in self._buffers:
            buffer[:, :, : self._max_length] = buffer[:, :, self._max_length :]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Returns the number of slots attended to, and the offset of the first."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Returns the number of slots in use."""
        return self._slots.head - self._slots.first

    def get_max_length(self) -> int:
        """Returns -1: old slots are given up, so there is no limit."""
        return -1


def beginnings(
    head: int, text_lengths: Tensor, lengths: Tensor
) -> Iterator[tuple[Tensor, slice, slice]]:
    """Yields which of k texts have grown equally since their beginnings, and where these go.

    Args:
        head: Where all texts end.
        text_lengths: Tokens of the texts, (k,).
        lengths: Tokens of their beginnings, (k,).

    Yields:
        Which texts, (j,); the slots just before the head that take their beginnings, left-padded
        by whatever stands there; and the slots that have them.
    """
    grown = text_lengths - lengths
    for count in grown.unique().tolist():
        which = (grown == count).nonzero().squeeze(1)
        width = int(lengths[which].max())
        yield which, slice(head - width, head), slice(head - count - width, head - count)


class RowCache(Cache):
    """Caches keys and values of B rows of up to `max_length` tokens.

    Args:
        n_layers: Layers of the model.
        n_rows: B.
        max_length: Longest text of a row, in tokens.
        device: Where the model is.

    Attributes:
        lengths: Tokens in the cache, per row, (B,).
    """

    def __init__(
        self, n_layers: int, n_rows: int, max_length: int, device: torch.device | None = None
    ) -> None:
        self._slots = _Slots(head=max_length)
        self._max_length = max_length
        self._rows = [_RowLayer(self._slots, n_rows, max_length) for _ in range(n_layers)]
        super().__init__(layers=[*self._rows])
        self.lengths = torch.zeros(n_rows, dtype=torch.long, device=device)

    def insert(
        self, rows: Tensor, prompts: Sequence[tuple[Tensor, Tensor]], lengths: Tensor
    ) -> None:
        """Gives each of `rows` a new prompt instead of its text.

        Args:
            rows: (k,) row numbers.
            prompts: For each layer, keys and values of k left-padded prompts, (k, heads, P, size).
            lengths: Tokens of each prompt, (k,).
        """
        for layer, (keys, values) in zip(self._rows, prompts, strict=True):
            layer.insert(rows, keys, values)
        self.lengths[rows] = lengths
        self._drop_unused()

    def share(self, to: Tensor, of: Tensor, lengths: Tensor) -> None:
        """Gives rows the beginnings of others' texts instead of their own.

        Args:
            to: (k,).
            of: Whose text begins so, (k,).
            lengths: Tokens of each beginning, (k,).
        """
        for which, target, source in beginnings(self._slots.head, self.lengths[of], lengths):
            for layer in self._rows:
                layer.copy(to[which], target, of[which], source)
        self.lengths[to] = lengths

    def taken(self, rows: Tensor) -> tuple[DynamicCache, Tensor]:
        """Returns a copy of some rows that a model can write on to.

        Args:
            rows: (k,).

        Returns:
            The copy, of as many slots S as the longest of these rows fills (some models know
            no place beyond), and which of them belong to each row, (k, S).
        """
        lengths = self.lengths[rows]
        n_slots = int(lengths.max())
        copied: Any = DynamicCache()
        for number, layer in enumerate(self._rows):
            copied.update(*layer.taken(rows, n_slots), number)
        return copied, torch.arange(n_slots, 0, -1, device=rows.device) <= lengths[:, None]

    def clear(self, rows: Sequence[int]) -> None:
        """Forgets the texts of `rows`, which go on writing at the head like all others."""
        self.lengths[list(rows)] = 0

    def attention_mask(self) -> Tensor:
        """Returns which slots belong to each row, the one about to be written included, (B, S)."""
        in_use = self._slots.head - self._slots.first
        distance = torch.arange(in_use, -1, -1, device=self.lengths.device)
        return distance <= self.lengths[:, None]

    def window(self, n_steps: int) -> Window:
        """Returns the slots in use and those of the next steps."""
        stop = min(self._slots.head + n_steps, 2 * self._max_length)
        head = torch.full((1,), self._slots.head, device=self.lengths.device)
        return Window(self._slots.first, stop, head)

    def reaches(self, window: Window) -> bool:
        """Tells whether all slots in use, and the next, are among those of a window."""
        return window.first <= self._slots.first and self._slots.head < window.stop

    def aim(self, window: Window) -> None:
        """Makes a window write at the head."""
        window.head.fill_(self._slots.head)

    @contextmanager
    def within(self, window: Window) -> Iterator[Tensor]:
        """Lets a step read and write in a window; yields its mask, (B, 1, 1, S)."""
        distance = window.head - torch.arange(window.first, window.stop, device=window.head.device)
        mask = (distance >= 0) & (distance <= self.lengths[:, None])
        self._slots.window = window
        try:
            yield mask[:, None, None]
        finally:
            self._slots.window = None

    def advance(self) -> None:
        """Counts the token that every row has just written."""
        self.lengths += 1
        self._slots.head += 1
        if self._slots.head == 2 * self._max_length:
            for layer in self._rows:
                layer.move_to_front()
            self._slots.head = self._max_length
        self._drop_unused()

    def keep(self, rows: Tensor) -> None:
        """Drops all rows but these (k,), which are renumbered in the order given."""
        for layer in self._rows:
            layer.keep(rows)
        self.lengths = self.lengths[rows]
        self._drop_unused()

    def _drop_unused(self) -> None:
        self._slots.first = self._slots.head - min(int(self.lengths.max()), self._max_length)
