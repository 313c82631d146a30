"""Next-token logits for many texts that grow one token at a time.

A `Decoder` keeps keys, values and last hidden states of the texts it reads. It knows its rows by
the numbers it was given, but neither environments nor episodes, and it does not choose tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from agents.kv_cache import RowCache
from agents.policy import CausalLMPolicy

_SHRINK_BELOW = 0.75
"""Share of rows that must be in use: below it, dropping the others is worth copying the cache."""


class Decoder:
    """Reads texts side by side; each grows, ends and gives way to another independently.

    Args:
        policy: Gives hidden states and logits.
        prompts: The first text of each row, by row number; token ids of any lengths.
        max_length: Longest text, prompt included, in tokens.

    Attributes:
        rows: The number of the row that each line of `logits` belongs to. Rows whose text ended may
            stay for a while; what is said of them means nothing.
    """

    def __init__(
        self, policy: CausalLMPolicy, prompts: Mapping[int, Tensor], max_length: int
    ) -> None:
        self._policy = policy
        self.rows = list(prompts)
        self._ended: set[int] = set()
        n_layers = int(policy.model.config.num_hidden_layers)
        self._cache = RowCache(n_layers, len(prompts), max_length, policy.device)
        weight = policy.value_head.weight
        self._hidden = weight.new_zeros(len(prompts), weight.shape[1])
        self._start(prompts)

    @torch.no_grad()
    def logits(self, action_mask: Tensor | None = None) -> Tensor:
        """Returns the logits of the next token of each of `rows`, (len(rows), V).

        Args:
            action_mask: (len(rows), V) bool, True = allowed.
        """
        return self._policy.logits(self._hidden, action_mask)

    def advance(
        self, tokens: Tensor, ended: Collection[int], prompts: Mapping[int, Tensor]
    ) -> None:
        """Goes on to the next token.

        Args:
            tokens: What was just chosen for each of `rows`, (len(rows),).
            ended: Numbers of rows whose text this token ended.
            prompts: The new text of those that start another.
        """
        self._ended |= set(ended)
        self._cache.clear([i for i, row in enumerate(self.rows) if row in self._ended])
        in_use = [i for i, row in enumerate(self.rows) if row not in self._ended or row in prompts]
        if not in_use:
            return
        if len(in_use) < _SHRINK_BELOW * len(self.rows):
            self._keep(in_use)
            tokens = tokens[in_use]
        if not self._ended.issuperset(self.rows):
            self._append(tokens)
        if prompts:
            self._ended -= prompts.keys()
            self._start(prompts)

    @torch.no_grad()
    def _append(self, tokens: Tensor) -> None:
        """Reads one token per row; what ended rows read is overwritten or never looked at."""
        self._hidden = self._policy.hidden_states(
            tokens[:, None],
            self._cache.attention_mask(),
            position_ids=self._cache.lengths[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )[:, -1]
        self._cache.advance()

    @torch.no_grad()
    def _start(self, prompts: Mapping[int, Tensor]) -> None:
        """Reads whole prompts, left-padded so that all end at the cache's head."""
        device = self._policy.device
        index = torch.tensor([self.rows.index(row) for row in prompts], device=device)
        lengths = torch.tensor([len(prompt) for prompt in prompts.values()], device=device)
        width = int(lengths.max())
        attention_mask = torch.arange(width - 1, -1, -1, device=device) < lengths[:, None]
        input_ids = torch.zeros(attention_mask.shape, dtype=torch.long, device=device)
        input_ids[attention_mask] = torch.cat(list(prompts.values())).to(device)
        cache = DynamicCache()
        hidden = self._policy.hidden_states(
            input_ids,
            attention_mask.long(),
            position_ids=(attention_mask.cumsum(dim=1) - 1).clamp_min(0),
            past_key_values=cache,
            use_cache=True,
        )
        self._cache.insert(index, _keys_and_values(cache), lengths)
        self._hidden[index] = hidden[:, -1]

    def _keep(self, lines: Sequence[int]) -> None:
        index = torch.tensor(lines, device=self._hidden.device)
        self.rows = [self.rows[i] for i in lines]
        self._cache.keep(index)
        self._hidden = self._hidden[index]


def _keys_and_values(cache: Any) -> list[tuple[Tensor, Tensor]]:
    return [(layer.keys, layer.values) for layer in cache.layers]
