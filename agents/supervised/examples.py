"""Pairs of texts as token ids: what SFT and DPO learn from.

What a policy sees of a prompt, and chooses after it, is decided where it is for pretraining
(`agents.supervised.sequences`). This module knows no files.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.algorithms.examples import Demonstrations, Preferences
from agents.policy.token_batch import TokenBatch
from agents.supervised.pair_files import Demonstration, Preference
from agents.supervised.sequences import TokenSequence, collate, encode_pair
from text_gym import HuggingFaceTokenizer
from text_gym.prompt_template import require_field


def encode_demonstrations(
    rows: Sequence[Demonstration],
    tokenizer: HuggingFaceTokenizer,
    *,
    template: str,
    max_length: int,
) -> Demonstrations | None:
    """Encodes pairs; those of more than `max_length` tokens are left out.

    Args:
        rows: What to imitate.
        tokenizer: Of the policy.
        template: The context with a field `{prompt}`.
        max_length: Most tokens of prompt and completion, end-of-text included.

    Returns:
        The pairs that fit, in their order; None if there is none.

    Raises:
        ValueError: If the template has no field `{prompt}`, or the tokenizer cannot spell a text.
    """
    require_field(template, "template")
    encoded = [encode_pair(tokenizer, template, row.prompt, row.completion) for row in rows]
    kept = [i for i, one in enumerate(encoded) if len(one.ids) <= max_length]
    if not kept:
        return None
    weights = _numbers([rows[i].weight for i in kept])
    return Demonstrations(_texts([encoded[i] for i in kept]), weights)


def encode_preferences(
    rows: Sequence[Preference],
    tokenizer: HuggingFaceTokenizer,
    *,
    template: str,
    max_length: int,
) -> Preferences | None:
    """Encodes pairs; one of which either text has more than `max_length` tokens is left out.

    Arguments, result and errors are those of `encode_demonstrations`.
    """
    require_field(template, "template")
    sides = [
        [encode_pair(tokenizer, template, row.prompt, text) for text in (row.chosen, row.rejected)]
        for row in rows
    ]
    kept = [i for i, pair in enumerate(sides) if max(len(one.ids) for one in pair) <= max_length]
    if not kept:
        return None
    chosen, rejected = (_texts([sides[i][side] for i in kept]) for side in (0, 1))
    return Preferences(
        chosen,
        rejected,
        weights=_numbers([rows[i].weight for i in kept]),
        margins=_numbers([rows[i].margin for i in kept]),
    )


def _texts(sequences: Sequence[TokenSequence]) -> TokenBatch:
    return TokenBatch(*collate(sequences))


def _numbers(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
