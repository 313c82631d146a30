"""What is learnt from a file: texts to imitate, and pairs of texts of which one is preferred.

As token ids; this module knows neither files nor tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from agents.policy.token_batch import TokenBatch


class Examples(Protocol):
    """n things to learn from."""

    def __len__(self) -> int:
        """Returns n."""

    @property
    def n_tokens(self) -> int:
        """Number of tokens of all completions."""

    @property
    def lengths(self) -> Tensor:
        """Length of each example, (n,), for putting those of similar length together."""

    def select(self, rows: Tensor) -> Self:
        """Returns some of them."""

    def to(self, device: torch.device) -> Self:
        """Returns them on a device."""


def chunks(examples: Examples, size: int) -> Iterator[Examples]:
    """Yields all examples, `size` at a time, those of similar length together."""
    for rows in examples.lengths.argsort(stable=True).split(size):
        yield examples.select(rows)


@dataclass(frozen=True)
class Demonstrations:
    """Holds n texts to imitate.

    Attributes:
        texts: (n, T); what is imitated is where `completion_mask` counts.
        weights: (n,), how much each counts.
    """

    texts: TokenBatch
    weights: Tensor

    def __len__(self) -> int:
        """Returns n."""
        return len(self.weights)

    @property
    def n_tokens(self) -> int:
        """Number of tokens of all completions."""
        return int(self.texts.completion_mask.sum())

    @property
    def lengths(self) -> Tensor:
        """Tokens of each text, prompt included, (n,)."""
        return self.texts.attention_mask.sum(dim=1)

    def select(self, rows: Tensor) -> Self:
        """Returns some of them, cut to the longest."""
        return type(self)(self.texts.select(rows), self.weights[rows])

    def to(self, device: torch.device) -> Self:
        """Returns them on a device."""
        return type(self)(self.texts.to(device), self.weights.to(device))


@dataclass(frozen=True)
class Preferences:
    """Holds n pairs of texts that answer the same prompts.

    Attributes:
        chosen: (n, T), what was preferred.
        rejected: (n, T'), what was not.
        weights: (n,), how much each pair counts.
        margins: (n,), by how much one was better, in the unit of whoever said so.
    """

    chosen: TokenBatch
    rejected: TokenBatch
    weights: Tensor
    margins: Tensor

    def __len__(self) -> int:
        """Returns n."""
        return len(self.weights)

    @property
    def n_tokens(self) -> int:
        """Number of tokens of all completions."""
        return sum(int(side.completion_mask.sum()) for side in (self.chosen, self.rejected))

    @property
    def lengths(self) -> Tensor:
        """Tokens of the longer text of each pair, (n,)."""
        sides = (self.chosen, self.rejected)
        return torch.stack([side.attention_mask.sum(dim=1) for side in sides]).amax(dim=0)

    def select(self, rows: Tensor) -> Self:
        """Returns some of them, cut to the longest."""
        chosen, rejected = self.chosen.select(rows), self.rejected.select(rows)
        return type(self)(chosen, rejected, self.weights[rows], self.margins[rows])

    def to(self, device: torch.device) -> Self:
        """Returns them on a device."""
        chosen, rejected = self.chosen.to(device), self.rejected.to(device)
        return type(self)(chosen, rejected, self.weights.to(device), self.margins.to(device))
