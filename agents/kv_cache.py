"""Keys and values of texts that start and end at different times.

All rows write the next token at the same slot, the head, so a step appends with one slice assignment
per layer. The text of a row occupies the slots that end at the head; a row that takes a new prompt
has it written just before the head, over the text that ended. This works for any Hugging Face model,
since positions are baked into keys when they are computed, not when they are read.

This module knows nothing of policies, sampling or environments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin


class _Slots:
    """Counts the slots in use, for all layers and rows alike: [first, head)."""

    def __init__(self, head: int) -> None:
        self.first = head
        self.head = head


class _RowLayer(CacheLayerMixin):
    """Keeps one layer's keys and values in buffers of shape (B, heads, capacity, head size)."""

    is_sliding = False

    def __init__(self, slots: _Slots, capacity: int) -> None:
        super().__init__()
        self._slots = slots
        self._capacity = capacity

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocates the buffers; zeros, because a masked NaN would still spread."""
        self.keys = _buffer(key_states, self._capacity)
        self.values = _buffer(value_states, self._capacity)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes one token per row at the head and returns the slots in use."""
        first, head = self._slots.first, self._slots.head
        self.keys[:, :, head : head + 1] = key_states
        self.values[:, :, head : head + 1] = value_states
        return self.keys[:, :, first : head + 1], self.values[:, :, first : head + 1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Returns the number of slots attended to, and the offset of the first."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Returns the number of slots in use."""
        return self._slots.head - self._slots.first

    def get_max_length(self) -> int:
        """Returns -1: old slots are given up, so there is no limit."""
        return -1


def _buffer(states: Tensor, capacity: int) -> Tensor:
    batch, heads, _, size = states.shape
    return states.new_zeros(batch, heads, capacity, size)


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
        super().__init__(layers=[_RowLayer(self._slots, 2 * max_length) for _ in range(n_layers)])
        self.lengths = torch.zeros(n_rows, dtype=torch.long, device=device)

    def insert(self, rows: Tensor, prompts: DynamicCache, lengths: Tensor) -> None:
        """Gives each of `rows` a new prompt instead of its text.

        Args:
            rows: (k,) row numbers.
            prompts: The cache of a forward over k left-padded prompts, of width P.
            lengths: Tokens of each prompt, (k,).
        """
        for layer, prompt in zip(self.layers, prompts.layers, strict=True):
            if not layer.is_initialized:
                shape = (len(self.lengths), -1, -1, -1)
                layer.lazy_initialization(
                    prompt.keys[:1].expand(shape), prompt.values[:1].expand(shape)
                )
            start = self._slots.head - prompt.keys.shape[2]
            layer.keys[rows, :, start : self._slots.head] = prompt.keys
            layer.values[rows, :, start : self._slots.head] = prompt.values
        self.lengths[rows] = lengths
        self._drop_unused()

    def clear(self, rows: Sequence[int]) -> None:
        """Forgets the texts of `rows`, which go on writing at the head like all others."""
        self.lengths[list(rows)] = 0

    def attention_mask(self) -> Tensor:
        """Returns which slots belong to each row, the token about to be written included, (B, S)."""
        in_use = self._slots.head - self._slots.first
        distance = torch.arange(in_use, -1, -1, device=self.lengths.device)
        return distance <= self.lengths[:, None]

    def advance(self) -> None:
        """Counts the token that every row has just written."""
        self.lengths += 1
        self._slots.head += 1
        if self._slots.head == 2 * self._max_length:
            self._move_to_front()
        self._drop_unused()

    def keep(self, rows: Tensor) -> None:
        """Drops all rows but these (k,), which are renumbered in the order given."""
        for layer in self.layers:
            layer.reorder_cache(rows)
        self.lengths = self.lengths[rows]
        self._drop_unused()

    def _drop_unused(self) -> None:
        self._slots.first = self._slots.head - min(int(self.lengths.max()), self._max_length)

    def _move_to_front(self) -> None:
        """Frees the back half: no row is longer than the front half."""
        for layer in self.layers:
            for buffer in (layer.keys, layer.values):
                buffer[:, :, : self._max_length] = buffer[:, :, self._max_length :]
        self._slots.head = self._max_length
