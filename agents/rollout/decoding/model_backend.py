"""Any Hugging Face causal language model read one token at a time, through its own cache interface.

Works for every model whose layers attend to all earlier tokens. It knows nothing of sampling or
environments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.decoding.kv_cache import RowCache
from agents.rollout.decoding.step_graph import FixedStep, StepGraph, can_be_recorded
from agents.rollout.timer import Timer


class ModelBackend:
    """Keeps keys, values and last hidden states of texts that a model reads side by side.

    Args:
        policy: Gives hidden states.
        n_rows: Texts side by side, n.
        max_length: Longest text, in tokens.
        timer: Learns how long prompts (`prefill`) and single tokens (`decode`) took.

    Attributes:
        hidden: Last hidden state of each line, (n, H), in the output layer's dtype.
    """

    def __init__(self, policy: CausalLMPolicy, n_rows: int, max_length: int, timer: Timer) -> None:
        self._policy = policy
        self._stopwatch = timer
        n_layers = int(policy.model.config.get_text_config(decoder=True).num_hidden_layers)
        self._cache = RowCache(n_layers, n_rows, max_length, policy.device)
        self._records = can_be_recorded(policy)
        self._graph: StepGraph | None = None
        self._stepped = 0
        weight = policy.head.weight
        self.hidden = torch.zeros(n_rows, weight.shape[1], dtype=weight.dtype, device=policy.device)

    @torch.no_grad()
    def read(self, tokens: Tensor | None, prompts: Mapping[int, Tensor]) -> None:
        """Reads one token per line, then new prompts in some of the lines.

        Args:
            tokens: (n,); None: no line goes on.
            prompts: Token ids by line, instead of what the line held.
        """
        if tokens is not None:
            with self._stopwatch("decode"):
                self._append(tokens)
        if prompts:
            with self._stopwatch("prefill"):
                self._start(prompts)

    @torch.no_grad()
    def extend(self, lines: Tensor, tokens: Tensor) -> None:
        """Reads k lines' (k,) next r tokens (k, r), in one pass."""
        with self._stopwatch("prefill"):
            cache, in_text = self._cache.taken(lines)
            attention_mask = torch.cat([in_text, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
            lengths = self._cache.lengths[lines] + tokens.shape[1]
            self._read_into(lines, lengths, tokens, attention_mask, cache)

    def share(self, to: Tensor, of: Tensor, lengths: Tensor) -> None:
        """Gives lines (k,) the first tokens, so many (k,), that other lines (k,) have read."""
        with self._stopwatch("prefill"):
            self._cache.share(to, of, lengths)

    def clear(self, lines: Sequence[int]) -> None:
        """Forgets the texts of `lines`, which go on writing at the head like all others."""
        self._cache.clear(lines)

    def keep(self, lines: Tensor) -> None:
        """Drops all lines but these, which are renumbered in the order given."""
        self._cache.keep(lines)
        self.hidden = self.hidden[lines]

    def _append(self, tokens: Tensor) -> None:
        hidden = self._replayed(tokens) if self._records else self._step(tokens)
        self.hidden = hidden.to(self.hidden.dtype)
        self._cache.advance()

    def _step(self, tokens: Tensor) -> Tensor:
        return self._policy.hidden_states(
            tokens[:, None],
            self._cache.attention_mask(),
            position_ids=self._cache.lengths[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )[:, -1]

    def _replayed(self, tokens: Tensor) -> Tensor:
        """Returns a step by a graph, recorded where as many rows have taken one without."""
        if self._graph is None or not self._graph.fits():
            self._graph = None
            if self._stepped != len(tokens):
                self._stepped = len(tokens)
                return self._step(tokens)
            self._graph = StepGraph(FixedStep(self._policy, self._cache))
        return self._graph(tokens)

    def _start(self, prompts: Mapping[int, Tensor]) -> None:
        """Reads whole prompts, left-padded so that all end at the cache's head."""
        device = self._policy.device
        lines = torch.tensor(list(prompts), device=device)
        lengths = torch.tensor([len(prompt) for prompt in prompts.values()], device=device)
        width = int(lengths.max())
        attention_mask = torch.arange(width - 1, -1, -1, device=device) < lengths[:, None]
        input_ids = torch.zeros(attention_mask.shape, dtype=torch.long, device=device)
        input_ids[attention_mask] = torch.cat(list(prompts.values())).to(device)
        self._read_into(lines, lengths, input_ids, attention_mask, DynamicCache())

    def _read_into(
        self, lines: Tensor, lengths: Tensor, tokens: Tensor, attention_mask: Tensor, cache: Any
    ) -> None:
        """Reads tokens (k, P) after what a cache of S slots holds, and puts all of it into lines.

        Args:
            lines: (k,).
            lengths: Tokens of the texts, these included, (k,).
            tokens: (k, P); all end together.
            attention_mask: Which slots and tokens belong to the texts, (k, S + P).
            cache: Of a model; it is written on.
        """
        positions = (attention_mask.cumsum(dim=1) - 1).clamp_min(0)
        hidden = self._policy.hidden_states(
            tokens,
            attention_mask.long(),
            position_ids=positions[:, -tokens.shape[1] :],
            past_key_values=cache,
            use_cache=True,
        )
        longest = int(lengths.max())
        keys_and_values = [
            (layer.keys[:, :, -longest:], layer.values[:, :, -longest:])
            for layer in cache.layers
            if getattr(layer, "keys", None) is not None
        ]
        if len(keys_and_values) != len(self._cache.layers):
            raise ValueError(
                f"model must cache keys and values of each of its {len(self._cache.layers)} "
                f"layers, got those of {len(keys_and_values)}"
            )
        self._cache.insert(lines, keys_and_values, lengths)
        self.hidden[lines] = hidden[:, -1].to(self.hidden.dtype)
