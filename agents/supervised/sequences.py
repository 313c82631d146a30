"""Token sequences for supervised training: encoding of text pairs, batches by length, padding.

This module knows no model and no loss; the tokenizer is any Hugging Face one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from text_gym import HuggingFaceTokenizer
from text_gym.prompt_template import require_field
from text_gym.text_parts import encode_completion


class TokenSequence(NamedTuple):
    """A prompt and its completion as one sequence of token ids."""

    ids: list[int]
    """Prompt, completion, end-of-text."""

    prompt_length: int
    """Number of leading ids that belong to the prompt."""


class Batch(NamedTuple):
    """Right-padded sequences, shapes (B, T); padding holds id 0 and counts nowhere."""

    input_ids: Tensor
    """int64."""

    mask: Tensor
    """bool, True at tokens that are not padding."""

    completion_mask: Tensor
    """bool, True at tokens of the completion, end-of-text included."""


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase,
    pairs: Iterable[tuple[str, str]],
    *,
    template: str,
    max_length: int,
) -> list[TokenSequence]:
    """Encode pairs of prompt and completion as `template`, completion, end-of-text.

    Context and completion are encoded apart, as a policy sees them: it is given the context's ids,
    begun as the tokenizer begins a text, and chooses the completion's. No text becomes a control
    token, unless the template names it. Pairs of more than `max_length` tokens are left out,
    because a text cut short would teach the model to stop in mid-sentence, or never.

    Args:
        tokenizer: A tokenizer with an end-of-text token.
        pairs: Prompts and completions.
        template: The context with a field `{prompt}`.
        max_length: Most tokens of a sequence, end-of-text included.

    Returns:
        The sequences that fit, in the order of the pairs.

    Raises:
        ValueError: If the template has no field `{prompt}`, the tokenizer has no end-of-text or
            cannot spell a text.
    """
    require_field(template, "template")
    vocabulary = HuggingFaceTokenizer(tokenizer)
    sequences = (encode_pair(vocabulary, template, *pair) for pair in pairs)
    return [sequence for sequence in sequences if len(sequence.ids) <= max_length]


def encode_pair(
    tokenizer: HuggingFaceTokenizer, template: str, prompt: str, completion: str
) -> TokenSequence:
    """Encode one pair, as `encode_pairs` does, however long it is.

    Raises:
        ValueError: If the tokenizer cannot spell a text.
    """
    context = tokenizer.encode_prompt(template, prompt)
    written = encode_completion(tokenizer, context, completion)
    return TokenSequence([*context, *written, tokenizer.eos_token_id], len(context))


def length_batches(
    lengths: Sequence[int], batch_tokens: int, generator: torch.Generator
) -> list[list[int]]:
    """Group sequences of similar length into batches of at most `batch_tokens`, in random order.

    Each index appears exactly once. Sequences are shuffled, then sorted by length (stably, so that
    equal lengths meet different neighbours each time), cut, and the batches shuffled. The number
    of batches depends on the lengths alone. A sequence longer than `batch_tokens` is a batch of
    its own.

    Args:
        lengths: Number of tokens of each sequence.
        batch_tokens: Largest product of a batch's size and its longest length.
        generator: Source of the order.

    Returns:
        The batches, as lists of indices into `lengths`.
    """
    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    batches: list[list[int]] = [[]]
    for index in sorted(shuffled, key=lambda index: lengths[index]):
        if batches[-1] and (len(batches[-1]) + 1) * lengths[index] > batch_tokens:
            batches.append([])
        batches[-1].append(index)
    order = torch.randperm(len(batches), generator=generator).tolist()
    return [batches[index] for index in order if batches[index]]


def collate(sequences: Sequence[TokenSequence]) -> Batch:
    """Pad sequences on the right to one length."""
    lengths = torch.tensor([len(sequence.ids) for sequence in sequences])
    prompt_lengths = torch.tensor([sequence.prompt_length for sequence in sequences])
    longest = int(lengths.max())
    input_ids = torch.tensor(
        [sequence.ids + [0] * (longest - len(sequence.ids)) for sequence in sequences]
    )
    positions = torch.arange(longest)
    mask = positions < lengths[:, None]
    return Batch(input_ids, mask, mask & (positions >= prompt_lengths[:, None]))
