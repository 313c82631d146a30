"""What the policy learns from, and its minibatches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from agents.policy.token_batch import TokenBatch


class Experience(NamedTuple):
    """Holds B episodes of up to T tokens, with the credit of each token.

    Attributes:
        texts: What was written.
        old_log_probs: (B, T), by the policy that wrote it.
        ref_log_probs: (B, T), by the reference.
        old_values: (B, T), by that policy's value function; None without one.
        advantages: (B, T).
        returns: (B, T), what values are trained towards; None where none are.
        extras: What an algorithm, or a writer, adds, by name, (B,) or (B, T, ...).
    """

    texts: TokenBatch
    old_log_probs: Tensor
    ref_log_probs: Tensor
    old_values: Tensor | None
    advantages: Tensor
    returns: Tensor | None
    extras: Mapping[str, Tensor] = MappingProxyType({})

    @property
    def n_episodes(self) -> int:
        """B."""
        return len(self.texts.input_ids)

    @property
    def n_tokens(self) -> int:
        """Number of tokens that the policy chose."""
        return int(self.texts.completion_mask.sum())

    @property
    def episode_advantages(self) -> Tensor:
        """The advantage of each episode, (B,), where it is the same for all of its tokens."""
        first = self.texts.completion_mask.int().argmax(dim=1, keepdim=True)
        return self.advantages.gather(1, first).squeeze(1)

    def select(self, rows: Tensor) -> Experience:
        """Returns some of the episodes, cut to the longest of them."""
        texts = self.texts.select(rows)
        width = texts.input_ids.shape[1]
        parts = (None if part is None else part[rows, :width] for part in self[1:-1])
        extras = {name: selected(part, rows, width) for name, part in self.extras.items()}
        return Experience(texts, *parts, extras)  # type: ignore[arg-type, call-arg]

    def split(self, size: int) -> Iterator[Experience]:
        """Yields all episodes, `size` at a time, those of similar length together."""
        lengths = self.texts.attention_mask.sum(dim=1)
        for rows in lengths.argsort(stable=True).split(size):
            yield self.select(rows)

    def rank_shard(self, rank: int, world_size: int) -> Experience | None:
        """Returns every `world_size`-th episode, from the one numbered `rank`; None if none is."""
        rows = torch.arange(rank, self.n_episodes, world_size)
        return self.select(rows) if len(rows) else None

    def shuffled(self, size: int, generator: torch.Generator) -> Iterator[Experience]:
        """Yields every episode once, in a random order, `size` at a time."""
        for rows in torch.randperm(self.n_episodes, generator=generator).split(size):
            yield self.select(rows)


class StepTotals(NamedTuple):
    """What a whole optimiser step holds: losses are sums divided by one of these.

    So the losses and gradients of micro-batches add up to those of the step, however it is split.

    Attributes:
        n_tokens: Tokens that the policy chose.
        n_episodes: Texts.
    """

    n_tokens: int
    n_episodes: int


def selected(part: Tensor, rows: Tensor, width: int) -> Tensor:
    """Returns some rows of a tensor (B,), or of one (B, T, ...) cut to `width`."""
    return part[rows] if part.ndim == 1 else part[rows, :width]
