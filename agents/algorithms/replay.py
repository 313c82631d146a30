"""Replay: texts that were written before, to learn from again.

Keeps whole batches, the newest ones, and gives batches of whole groups drawn from all of them. What
is kept is what no later policy changes: the texts, their rewards, the reference's log-probs, and
whatever the algorithm adds. This module does not know what is learnt from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from agents.algorithms.experience import selected
from agents.policy.action_masks import ActionMasks
from agents.policy.token_batch import TokenBatch, concatenated, stacked


class Remembered(NamedTuple):
    """B texts and what is known of them.

    Attributes:
        texts: What was written.
        rewards: (B, T), paid by the environment.
        ref_log_probs: (B, T), by the reference.
        group_ids: (B,) int64.
        truncated: (B,) bool, True where the last state was cut off rather than final.
        extras: What an algorithm adds, by name, (B,) or (B, T, ...).
    """

    texts: TokenBatch
    rewards: Tensor
    ref_log_probs: Tensor
    group_ids: Tensor
    truncated: Tensor
    extras: Mapping[str, Tensor] = MappingProxyType({})

    def select(self, rows: Tensor) -> Remembered:
        """Returns some of the texts, cut to the longest of them."""
        texts = self.texts.select(rows)
        width = texts.input_ids.shape[1]
        return Remembered(
            texts,
            selected(self.rewards, rows, width),
            selected(self.ref_log_probs, rows, width),
            self.group_ids[rows],
            self.truncated[rows],
            {name: selected(part, rows, width) for name, part in self.extras.items()},
        )


class Replay:
    """Remembers the last `size` batches.

    Args:
        size: Batches, at least 1.
    """

    def __init__(self, size: int) -> None:
        self._batches: deque[Remembered] = deque(maxlen=size)

    def __len__(self) -> int:
        """Returns the number of batches that are remembered."""
        return len(self._batches)

    def add(self, batch: Remembered) -> None:
        """Remembers a batch; the oldest one makes room."""
        self._batches.append(batch)

    def draw(self, n_groups: int, generator: torch.Generator) -> Remembered:
        """Returns groups drawn without replacement from all batches, at most `n_groups`.

        Args:
            n_groups: How many.
            generator: Of the draw.
        """
        joint = _joined(list(self._batches))
        groups = joint.group_ids.unique()
        order = torch.randperm(len(groups), generator=generator).to(groups.device)
        rows = torch.isin(joint.group_ids, groups[order[:n_groups]]).nonzero().squeeze(1)
        return joint.select(rows)

    def tensors(self) -> dict[str, Tensor]:
        """Returns everything that is remembered, by name: `NUMBER.FIELD`."""
        return {
            f"{number}.{name}": tensor
            for number, batch in enumerate(self._batches)
            for name, tensor in _fields(batch).items()
        }

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Remembers what `tensors` returned.

        Raises:
            ValueError: If a batch lacks a field or has another, or they do not fit together.
        """
        batches: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            number, _, name = key.partition(".")
            batches.setdefault(int(number), {})[name] = tensor
        self._batches.clear()
        for _, fields in sorted(batches.items()):
            self._batches.append(_batch(fields))


_MASKS = ("mask_table", "mask_numbers")
_TOKENS = ("input_ids", "attention_mask", "completion_mask")
_TENSORS = ("rewards", "ref_log_probs", "group_ids", "truncated")
_EXTRA = "extra:"


def _fields(batch: Remembered) -> dict[str, Tensor]:
    texts = batch.texts
    fields = {
        "input_ids": texts.input_ids,
        "attention_mask": texts.attention_mask,
        "completion_mask": texts.completion_mask,
        **{name: part for name, part in batch._asdict().items() if name in _TENSORS},
        **{f"{_EXTRA}{name}": part for name, part in batch.extras.items()},
    }
    if texts.action_masks is not None:
        fields |= dict(zip(_MASKS, texts.action_masks, strict=True))
    return fields


def _batch(fields: dict[str, Tensor]) -> Remembered:
    masks = [fields.pop(name) for name in _MASKS if name in fields]
    extras = {name: fields.pop(name) for name in list(fields) if name.startswith(_EXTRA)}
    expected = {*_TOKENS, *_TENSORS}
    if fields.keys() != expected or len(masks) not in (0, 2):
        raise ValueError(f"a remembered batch must have {sorted(expected)}, got {sorted(fields)}")
    shapes = {fields[name].shape for name in (*_TOKENS, "rewards", "ref_log_probs")}
    if len(shapes) > 1:
        raise ValueError(f"a remembered batch must have one shape (B, T), got {sorted(shapes)}")
    ids, attention_mask, completion_mask = (fields.pop(name) for name in _TOKENS)
    action_masks = ActionMasks(*masks) if masks else None
    texts = TokenBatch(ids, attention_mask, completion_mask, action_masks)
    named = {name.removeprefix(_EXTRA): part for name, part in extras.items()}
    return Remembered(texts, **fields, extras=named)


def _joined(batches: list[Remembered]) -> Remembered:
    """Returns all batches as one; groups keep apart, though each batch counts its own."""
    offsets, group_ids = 0, []
    for batch in batches:
        numbers = batch.group_ids.unique(return_inverse=True)[1]
        group_ids.append(numbers + offsets)
        offsets += int(numbers.max()) + 1
    return Remembered(
        concatenated([batch.texts for batch in batches]),
        stacked([batch.rewards for batch in batches]),
        stacked([batch.ref_log_probs for batch in batches]),
        torch.cat(group_ids),
        torch.cat([batch.truncated for batch in batches]),
        {name: stacked([batch.extras[name] for batch in batches]) for name in batches[0].extras},
    )
