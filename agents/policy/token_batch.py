"""A batch of texts, and which of their tokens the policy chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from agents.policy.action_masks import ActionMasks


class TokenBatch(NamedTuple):
    """Holds B texts, right-padded to the longest, T tokens.

    Attributes:
        input_ids: (B, T) int64, 0 beyond the text.
        attention_mask: (B, T) bool, True where there is text.
        completion_mask: (B, T) bool, True at tokens that the policy chose; never at position 0.
        action_masks: The tokens that were allowed where it chose; None: all.
    """

    input_ids: Tensor
    attention_mask: Tensor
    completion_mask: Tensor
    action_masks: ActionMasks | None = None

    def select(self, rows: Tensor) -> TokenBatch:
        """Returns some of the B texts, cut to the longest of them."""
        width = int(self.attention_mask[rows].sum(dim=1).max())
        masks = self.action_masks
        return TokenBatch(
            self.input_ids[rows, :width],
            self.attention_mask[rows, :width],
            self.completion_mask[rows, :width],
            None if masks is None else ActionMasks(masks.table, masks.numbers[rows, :width]),
        )

    def to(self, device: torch.device) -> TokenBatch:
        """Returns the batch on a device."""
        masks = self.action_masks
        return TokenBatch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.completion_mask.to(device),
            None if masks is None else ActionMasks(*(part.to(device) for part in masks)),
        )

    @property
    def lengths(self) -> Tensor:
        """The number of tokens chosen in each text, (B,)."""
        return self.completion_mask.sum(dim=1)


def concatenated(parts: Sequence[TokenBatch]) -> TokenBatch:
    """Returns several batches as one, in their order."""
    return TokenBatch(
        input_ids=stacked([part.input_ids for part in parts]),
        attention_mask=stacked([part.attention_mask for part in parts]),
        completion_mask=stacked([part.completion_mask for part in parts]),
        action_masks=_joined_masks(parts),
    )


def _joined_masks(batches: Sequence[TokenBatch]) -> ActionMasks | None:
    masked = [one.action_masks.table for one in batches if one.action_masks is not None]
    if not masked:
        return None
    free = torch.ones_like(masked[0][:1])
    parts = [
        one.action_masks or ActionMasks(free, torch.zeros_like(one.input_ids)) for one in batches
    ]
    sizes = torch.tensor([len(part.table) for part in parts])
    offsets = (sizes.cumsum(dim=0) - sizes).tolist()
    numbers = [part.numbers + offset for part, offset in zip(parts, offsets, strict=True)]
    return ActionMasks(torch.cat([part.table for part in parts]), stacked(numbers))


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """Returns tensors (B,) or (B, T, ...) one below the other, padded with 0 to the longest T."""
    if parts[0].ndim == 1:
        return torch.cat(list(parts))
    width = max(part.shape[1] for part in parts)
    trailing = (0, 0) * (parts[0].ndim - 2)  # functional.pad counts from the last dimension
    padded = [functional.pad(part, (*trailing, 0, width - part.shape[1])) for part in parts]
    return torch.cat(padded)
