"""Whether a policy can read examples and learn from them, checked before the first step.

Knows neither files nor the loss; examples that this package encodes pass as they are.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.token_batch import TokenBatch

_TEXTS = ("texts", "chosen", "rejected")
_NUMBERS = {"weights": 0.0, "margins": -math.inf}
"""Of each example, with the least that they may be."""


def require_readable(name: str, examples: Any, kind: type, policy: CausalLMPolicy) -> None:
    """Refuses examples that are not what an algorithm learns from, or that a policy cannot read.

    Args:
        name: Of the argument.
        examples: At least one.
        kind: `Demonstrations` or `Preferences`.
        policy: That will read them.

    Raises:
        ValueError: If they are of another kind, shape or dtype; a token is none of the policy's or
            a text longer than it can read; masks are not those of right-padded texts; or a weight
            is negative or a number not finite. The message names part, rule and value.
    """
    if not isinstance(examples, kind):
        raise ValueError(f"{name} must be {kind.__name__}, got {examples!r:.100}")
    texts = {part: getattr(examples, part) for part in _TEXTS if hasattr(examples, part)}
    for part, batch in texts.items():
        _require_form(f"{name}.{part}", batch)
        _require_texts(f"{name}.{part}", batch, policy)
    n = len(next(iter(texts.values())).input_ids)
    for part, batch in texts.items():
        found = len(batch.input_ids)
        _require(f"{name}.{part}", f"{n} texts, as the others are", found == n, found)
    for part, least in _NUMBERS.items():
        if hasattr(examples, part):
            _require_numbers(f"{name}.{part}", getattr(examples, part), n, least)


def _require_form(where: str, batch: Any) -> None:
    """Refuses what is no batch of texts, by kind, shape and dtype."""
    _require(where, "a TokenBatch", isinstance(batch, TokenBatch), f"{batch!r:.100}")
    ids = batch.input_ids
    fits = isinstance(ids, Tensor) and ids.ndim == 2 and ids.dtype == torch.int64
    _require(f"{where}.input_ids", "(n, T) int64", fits, _form(ids))
    for part in ("attention_mask", "completion_mask"):
        mask = getattr(batch, part)
        fits = isinstance(mask, Tensor) and mask.shape == ids.shape and mask.dtype == torch.bool
        _require(f"{where}.{part}", f"{tuple(ids.shape)} bool", fits, _form(mask))


def _require_texts(where: str, batch: TokenBatch, policy: CausalLMPolicy) -> None:
    """Refuses tokens, lengths and masks that a policy cannot read."""
    ids, there, chosen = batch.input_ids, batch.attention_mask, batch.completion_mask
    rule = f"in [0, {policy.vocab_size}), the policy's vocabulary"
    outside = ((ids < 0) | (ids >= policy.vocab_size)).any(dim=1)
    _require_rows(f"{where}.input_ids", rule, outside, ids)
    rule = "True from the start of a text to its end"
    gaps = (there.long().cummin(dim=1).values != there).any(dim=1)
    _require_rows(f"{where}.attention_mask", rule, gaps, there)
    rule = "False at position 0, which follows nothing, and beyond the text"
    _require_rows(
        f"{where}.completion_mask", rule, chosen[:, 0] | (chosen & ~there).any(dim=1), chosen
    )
    longest, most = int(there.sum(dim=1).max()), policy.max_length
    rule = f"texts of at most {most} tokens, the policy's positions"
    _require(where, rule, most is None or longest <= most, longest)


def _require_numbers(where: str, values: Any, n: int, least: float) -> None:
    """Refuses numbers that are not one for each text, not finite, or too small."""
    fits = isinstance(values, Tensor) and tuple(values.shape) == (n,)
    _require(where, f"({n},) numbers", fits, _form(values))
    rule = "finite" if math.isinf(least) else f"finite and at least {least:g}"
    _require_rows(where, rule, ~values.isfinite() | (values < least), values)


def _require_rows(where: str, rule: str, broken: Tensor, values: Tensor) -> None:
    """Names the first row that breaks a rule, by `broken` (n,)."""
    if bool(broken.any()):
        row = int(broken.nonzero()[0])
        raise ValueError(f"{where}[{row}] must be {rule}, got {values[row].tolist()!r:.100}")


def _require(where: str, rule: str, holds: bool, got: Any) -> None:
    if not holds:
        raise ValueError(f"{where} must be {rule}, got {got}")


def _form(value: Any) -> str:
    """Returns shape and dtype of a tensor, and of anything else what it is."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return f"{value!r:.100}"
