"""GPT-2 read one token at a time, without the library's calls around its arithmetic.

The backend computes what `transformers`' GPT-2 computes, on the same parameters. The new token of
every row and all prompts that start pass through the layers together, as `gpt2_layers` has them;
here is what they attend to. It knows nothing of sampling or environments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel, GPT2Model

from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.decoding.gpt2_layers import GPT2Layers
from agents.rollout.decoding.kv_cache import beginnings
from agents.rollout.timer import Timer

_FEWEST_SLOTS = 16
"""Attended to, though masked: batched products of a row with fewer take a path that is slower."""


class _Prompts(NamedTuple):
    """Prompts that start in this step, left-padded to P tokens.

    Attributes:
        lines: Where they go, (k,).
        lengths: Tokens of each, (k,).
        input_ids: (k, P), 0 before the prompt.
        attention_mask: (k, 1, P, P) bool, what each position attends to; None: all before it.
    """

    lines: Tensor
    lengths: Tensor
    input_ids: Tensor
    attention_mask: Tensor | None


class GPT2Backend:
    """Keeps keys, values and last hidden states of texts that GPT-2 reads side by side.

    All rows write at one head, as in `kv_cache` beside it. Slots outside a row's text are excluded
    by a bias that is kept with the cache, so that no mask is made in any step.

    Args:
        policy: One that `supports` accepts.
        n_rows: Texts side by side, n.
        max_length: Longest text, in tokens.
        timer: Learns how long reading took: `prefill` of the first prompts, `decode` of tokens
            and of the prompts read along with them.

    Attributes:
        hidden: Last hidden state of each line, (n, H).
    """

    def __init__(self, policy: CausalLMPolicy, n_rows: int, max_length: int, timer: Timer) -> None:
        self._layers = layers = GPT2Layers(cast("GPT2Model", policy.trunk))
        self._n_heads, self._head_size = layers.n_heads, layers.head_size
        self._stopwatch = timer
        self._max_length = max_length
        weight = policy.head.weight
        shape = (2, n_rows, self._n_heads, 2 * max_length, self._head_size)
        # Keys and values, uninitialised below `_first_written`.
        self._caches = [weight.new_empty(shape) for _ in range(len(layers))]
        self._first_written = max_length
        self._bias = weight.new_zeros(n_rows, self._n_heads, 1, 2 * max_length)
        self._lengths = torch.zeros(n_rows, dtype=torch.long, device=weight.device)
        self._head = max_length
        self.hidden = weight.new_zeros(n_rows, layers.width)

    @staticmethod
    def supports(policy: CausalLMPolicy) -> bool:
        """Tells whether a policy is plain GPT-2: no adapters, autocast, shards, hooks."""
        return (
            type(policy.model) is GPT2LMHeadModel
            and policy.autocast is None
            and policy.model.dtype.itemsize >= 4
            and GPT2Layers.supports(policy.trunk)
        )

    @torch.no_grad()
    def read(self, tokens: Tensor | None, prompts: Mapping[int, Tensor]) -> None:
        """Reads one token per line, and new prompts in some of the lines.

        Args:
            tokens: (n,); None: no line goes on.
            prompts: Token ids by line, instead of what the line held.
        """
        with self._stopwatch("prefill" if tokens is None else "decode"):
            self._read(tokens, prompts)

    def _read(self, tokens: Tensor | None, prompts: Mapping[int, Tensor]) -> None:
        n_tokens = 0
        parts = []
        if tokens is not None:
            n_tokens = len(tokens)
            parts.append(self._layers.embedded(tokens, self._lengths))
            self._lengths += 1
            self._advance_head()
        starting = self._padded(prompts) if prompts else None
        if starting is not None:
            width = starting.input_ids.shape[1]
            offsets = torch.arange(-width, 0, device=starting.lengths.device)
            positions = (offsets + starting.lengths[:, None]).clamp_min(0)
            parts.append(self._layers.embedded(starting.input_ids.flatten(), positions.flatten()))
            self._set_lengths(starting.lines, starting.lengths)
        n_slots = max(int(self._lengths.max()), min(_FEWEST_SLOTS, self._head))
        window = slice(self._head - n_slots, self._head)
        self._initialise_from(window.start)
        bias = self._bias.flatten(0, 1)[:, :, window]

        def attended(cache: Tensor, projected: Tensor) -> Tensor:
            parts = []
            if n_tokens:
                parts.append(self._attended(cache, projected[:n_tokens], bias, window))
            if starting is not None:
                parts.append(self._attended_in_prompts(cache, projected[n_tokens:], starting))
            return parts[0] if len(parts) == 1 else torch.cat(parts)

        embedded = parts[0] if len(parts) == 1 else torch.cat(parts)
        states = self._layers.states(embedded, self._caches, attended)
        if tokens is not None:
            self.hidden = states[:n_tokens]
        if starting is not None:
            ends = states[n_tokens:].view(*starting.input_ids.shape, -1)[:, -1]
            self.hidden[starting.lines] = ends

    @torch.no_grad()
    def extend(self, lines: Tensor, tokens: Tensor) -> None:
        """Reads k lines' (k,) next r tokens (k, r), in one pass."""
        with self._stopwatch("prefill"):
            self._extend(lines, tokens)

    def _extend(self, lines: Tensor, tokens: Tensor) -> None:
        k, count = tokens.shape
        longest = int(self._lengths[lines].max())
        at: Any = lines
        if k == len(self._lengths) and self._head + count <= 2 * self._max_length:
            self._head += count  # no text has to move, and no cache to be gathered
            at, tokens = slice(None), tokens[lines.argsort()]
        else:
            self._move_back(lines, count, longest)
        read = self._lengths[at]
        positions = read[:, None] + torch.arange(count, device=read.device)
        self._set_lengths(at, read + count)
        window = slice(self._head - longest - count, self._head)
        attended = partial(
            self._attended_after, at=at, window=window, bias=self._causal(at, window, count)
        )
        embedded = self._layers.embedded(tokens.to(read.device).flatten(), positions.flatten())
        self.hidden[at] = self._layers.states(embedded, self._caches, attended).view(k, count, -1)[
            :, -1
        ]

    def _causal(self, at: Any, window: slice, count: int) -> Tensor:
        """Returns the bias of the last tokens of each of k lines, (k · heads, count, S)."""
        n_slots = window.stop - window.start
        seen = torch.ones(count, n_slots, dtype=torch.bool, device=self._bias.device)
        later = seen.triu(n_slots - count + 1)
        return self._bias[at, :, :, window].masked_fill(later, -torch.inf).flatten(0, 1)

    def _attended_after(
        self, cache: Tensor, projected: Tensor, *, at: Any, window: slice, bias: Tensor
    ) -> Tensor:
        """Writes the last tokens of each of k lines, and attends from them to the line's text."""
        count, size = bias.shape[1], self._head_size
        heads = projected.view(-1, count, 3, self._n_heads, size).permute(2, 0, 3, 1, 4)
        cache[:, at, :, window.stop - count : window.stop] = heads[1:]
        keys, values = cache[:, at, :, window].flatten(1, 2)
        found = _attended(heads[0].flatten(0, 1), keys, values, bias)
        return (
            found.view(-1, self._n_heads, count, size).transpose(1, 2).reshape(len(projected), -1)
        )

    def _move_back(self, lines: Tensor, count: int, longest: int) -> None:
        """Makes room for so many tokens between the texts of lines and the head."""
        first = self._head - longest
        self._initialise_from(first - count)
        for cache in self._caches:
            moved = cache[:, lines, :, first : self._head]
            cache[:, lines, :, first - count : self._head - count] = moved

    def share(self, to: Tensor, of: Tensor, lengths: Tensor) -> None:
        """Gives lines (k,) the first tokens, so many (k,), that other lines (k,) have read."""
        with self._stopwatch("prefill"):
            for which, target, source in beginnings(self._head, self._lengths[of], lengths):
                for cache in self._caches:
                    cache[:, to[which], :, target] = cache[:, of[which], :, source]
            self._set_lengths(to, lengths)

    def clear(self, lines: Sequence[int]) -> None:
        """Forgets the texts of `lines`, which go on writing at the head like all others."""
        self._lengths[list(lines)] = 0

    def keep(self, lines: Tensor) -> None:
        """Drops all lines but these, which are renumbered in the order given."""
        self._bias, self._lengths = self._bias[lines], self._lengths[lines]
        self.hidden = self.hidden[lines]
        self._first_written = self._head - int(self._lengths.max())
        written = slice(self._first_written, self._head)
        self._caches = [_kept(cache, lines, written) for cache in self._caches]

    def _attended(self, cache: Tensor, projected: Tensor, bias: Tensor, window: slice) -> Tensor:
        """Writes one token per line at the last slot, and attends from it to the line's text."""
        n, size = len(projected), self._head_size
        heads = projected.view(n, 3, self._n_heads, size)
        cache[:, :, :, window.stop - 1] = heads[:, 1:].transpose(0, 1)
        keys, values = cache.flatten(1, 2)[:, :, window]
        return _attended(heads[:, 0].reshape(-1, 1, size), keys, values, bias).view(n, -1)

    def _attended_in_prompts(self, cache: Tensor, projected: Tensor, starting: _Prompts) -> Tensor:
        """Writes prompts so that they end at the head, and attends within each."""
        k, width = starting.input_ids.shape
        heads = projected.view(k, width, 3, self._n_heads, self._head_size).permute(2, 0, 3, 1, 4)
        cache[:, starting.lines, :, self._head - width : self._head] = heads[1:]
        mask = starting.attention_mask
        queries, keys, values = heads
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=mask is None
        )
        return attended.transpose(1, 2).reshape(k * width, -1)

    def _padded(self, prompts: Mapping[int, Tensor]) -> _Prompts:
        device = self._lengths.device
        lengths = torch.tensor([len(prompt) for prompt in prompts.values()], device=device)
        width = int(lengths.max())
        lines = torch.tensor(list(prompts), device=device)
        tokens = torch.cat(list(prompts.values())).to(device)
        if len(tokens) == len(prompts) * width:
            return _Prompts(lines, lengths, tokens.view(-1, width), None)
        in_prompt = torch.arange(width - 1, -1, -1, device=device) < lengths[:, None]
        input_ids = torch.zeros(in_prompt.shape, dtype=torch.long, device=device)
        input_ids[in_prompt] = tokens
        causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        itself = torch.eye(width, dtype=torch.bool, device=device)  # padding attends to something
        return _Prompts(lines, lengths, input_ids, (causal & in_prompt[:, None] | itself)[:, None])

    def _set_lengths(self, lines: Any, lengths: Tensor) -> None:
        """Makes the text of each of k lines the last so many slots before the head."""
        self._lengths[lines] = lengths
        slots = torch.arange(2 * self._max_length, device=self._lengths.device)
        before = slots < self._head - lengths[:, None]
        bias = torch.zeros_like(before, dtype=self._bias.dtype).masked_fill_(before, -torch.inf)
        self._bias[lines] = bias[:, None, None]

    def _initialise_from(self, slot: int) -> None:
        """Zeroes slots that not every row has written: though masked, a NaN there would spread."""
        if slot < self._first_written:
            for cache in self._caches:
                cache[:, :, :, slot : self._first_written] = 0
            self._first_written = slot

    def _advance_head(self) -> None:
        """Gives the next slot to the token being read; at the end, the back half moves forward."""
        if self._head == 2 * self._max_length:
            half = self._max_length
            for cache in self._caches:
                cache[:, :, :, :half] = cache[:, :, :, half:]
            self._bias[..., :half] = self._bias[..., half:]
            self._bias[..., half:] = 0
            self._head = half
            self._first_written = max(0, self._first_written - half)
        self._head += 1


def _kept(cache: Tensor, lines: Tensor, written: slice) -> Tensor:
    """Returns some lines of a cache, with only the slots that are written already."""
    kept = cache.new_empty(2, len(lines), *cache.shape[2:])
    kept[:, :, :, written] = cache[:, lines, :, written]
    return kept


def _attended(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Returns what q queries (N, q, size) attend to among keys and values of S slots (N, S, size).

    Args:
        queries: Of N heads of lines.
        keys: As above.
        values: As above.
        bias: −∞ at slots that a query does not see, (N, q, S).
    """
    scores = torch.baddbmm(bias, queries, keys.transpose(1, 2), alpha=queries.shape[-1] ** -0.5)
    return torch.bmm(torch.softmax(scores, dim=-1), values)
