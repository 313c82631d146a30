"""Replay: texts that were written before, to learn from again.

Keeps whole batches, the newest ones, and gives batches of whole groups drawn from all of them. What
is kept is what no later policy changes: the texts, their rewards, the reference's log-probs, and
whatever the algorithm adds. Texts that were written under other masks are refused: what the policy
says of them now would be about other choices. This module does not know what is learnt from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
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
        vocabulary_mask: The tokens that the environments can use, (V,); None: all, or they do not
            say.
    """

    def __init__(self, size: int, vocabulary_mask: NDArray[np.bool_] | None = None) -> None:
        self._batches: deque[Remembered] = deque(maxlen=size)
        self._vocabulary_mask = vocabulary_mask

    def __len__(self) -> int:
        """Returns the number of batches that are remembered."""
        return len(self._batches)

    def add(self, batch: Remembered) -> None:
        """Remembers a batch; the oldest one makes room.

        Raises:
            ValueError: If it has action masks and the others have none, or the other way round.
        """
        if self._batches and _masked(batch) != _masked(self._batches[-1]):
            now, then = _masked(batch), _masked(self._batches[-1])
            raise ValueError(
                f"envs must report action_mask as for the {len(self)} batches to replay, {then}, "
                f"got {now}"
            )
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
        """Returns everything that is remembered, by name: `replay.NUMBER.FIELD`."""
        fields = {
            f"{_PREFIX}{number}.{name}": tensor
            for number, batch in enumerate(self._batches)
            for name, tensor in _fields(batch).items()
        }
        if self._vocabulary_mask is not None:
            fields[_VOCABULARY] = torch.from_numpy(self._vocabulary_mask)
        return fields

    def load_tensors(
        self, tensors: Mapping[str, Tensor], device: torch.device
    ) -> dict[str, Tensor]:
        """Remembers what `tensors` returned, on a device, and returns what is none of it.

        Raises:
            ValueError: If a batch lacks a field or has another, they do not fit together, or the
                environments had another vocabulary mask.
        """
        left = dict(tensors)
        saved = left.pop(_VOCABULARY, None)
        _require_same_vocabulary(
            None if saved is None else saved.numpy(force=True), self._vocabulary_mask
        )
        batches: dict[int, dict[str, Tensor]] = {}
        for key in [key for key in left if key.startswith(_PREFIX)]:
            number, _, name = key.removeprefix(_PREFIX).partition(".")
            batches.setdefault(int(number), {})[name] = left.pop(key).to(device)
        self._batches.clear()
        for _, fields in sorted(batches.items()):
            self._batches.append(_batch(fields))
        return left


_PREFIX = "replay."
_VOCABULARY = f"{_PREFIX}vocabulary_mask"
_MASKS = ("mask_table", "mask_numbers")
_TOKENS = ("input_ids", "attention_mask", "completion_mask")
_TENSORS = ("rewards", "ref_log_probs", "group_ids", "truncated")
_EXTRA = "extra:"


def _masked(batch: Remembered) -> bool:
    return batch.texts.action_masks is not None


def _require_same_vocabulary(
    saved: NDArray[np.bool_] | None, own: NDArray[np.bool_] | None
) -> None:
    known: Any = saved if own is None else own
    if known is None:
        return
    everything = np.ones_like(known)
    differing = np.flatnonzero(
        (everything if saved is None else saved) != (everything if own is None else own)
    )
    if differing.size:
        raise ValueError(
            "envs must have the vocabulary mask of the texts to replay, got one that differs at "
            f"{differing.size} of {len(known)} tokens, the first {differing[0]}"
        )


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
