"""Whether a model decodes as it is trained: tried out, whatever its architecture.

A policy writes through a cache, one token at a time, in rows whose texts begin and end at different
times; it is trained by one forward per text, padded on the right. Here a few given texts, short
ones and some up to the limit, go both ways. Nothing is sampled, so no random stream moves. Knows no
architecture by name, and no environments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from agents.distributed.sharding import reshard
from agents.policy import categorical
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.token_batch import TokenBatch, stacked
from agents.rollout.decoding.decoder import Decoder

SMALLEST_TOLERANCE = 3e-5
"""In nats, or 16 roundings of a log-prob, if that is more: sound models stay within a dozen."""

LARGEST_SAMPLING_ERROR = 1e-3
"""In nats, or 64 roundings, for the texts of a batch: the largest of thousands of errors, and of a
policy that has learnt since it was measured. SmolLM2 in bfloat16 reaches 13 in 5,000 tokens."""


class Disagreement(NamedTuple):
    """Says how far cached decoding and the training forward lie apart.

    Attributes:
        nats: Largest difference of a token's log-probs; NaN if one of them is.
        length: Tokens of the text up to that one, itself included.
    """

    nats: float
    length: int


class _Text:
    """A given text, of which decoding reads the first tokens at once and the others one by one.

    Attributes:
        tokens: (T,).
        prompt: The first of them.
        log_probs: By decoding, of those after the prompt that have been read.
    """

    def __init__(self, tokens: Tensor, prompt_length: int) -> None:
        self.tokens = tokens
        self.prompt = tokens[:prompt_length]
        self.log_probs: list[Tensor] = []

    @property
    def next_token(self) -> int:
        return int(self.tokens[len(self.prompt) + len(self.log_probs)])

    @property
    def is_complete(self) -> bool:
        return len(self.prompt) + len(self.log_probs) == len(self.tokens)


def decoding_tolerance(rounding: float) -> float:
    """Returns by how many nats decoding may differ from the training forward.

    Args:
        rounding: Of a log-prob of the policy, autocast included.
    """
    return max(SMALLEST_TOLERANCE, 16 * rounding)


def sampling_tolerance(rounding: float) -> float:
    """Returns by how many nats the log-probs of sampling may differ from the training forward's."""
    return max(LARGEST_SAMPLING_ERROR, 64 * rounding)


def require_exact_decoding(policy: CausalLMPolicy, max_length: int) -> None:
    """Refuses a policy that does not decode texts of up to `max_length` tokens as it is trained.

    Raises:
        ValueError: If its log-probs differ by more than rounding, or it cannot be read token by
            token; names the model, what was found, and the rule.
    """
    if max_length < 2:
        return
    name = type(policy.model).__name__
    try:
        found = disagreement(policy, max_length)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever an architecture without such a cache happens to run into
        raise ValueError(
            f"policy must read texts of up to {max_length} tokens one token at a time, through a "
            f"cache of the keys and values of every layer; {name} does not: "
            f"{type(error).__name__}: {error}"
        ) from error
    tolerance = decoding_tolerance(policy.rounding)
    if not found.nats <= tolerance:
        raise ValueError(
            "policy must decode as it is trained: log-probs through the cache must equal those of "
            f"the training forward to within {tolerance:.3g} nats (rounding), but {name} differs "
            f"by {found.nats:.3g} nats at length {found.length}, in texts of up to {max_length} "
            "tokens"
        )


@torch.no_grad()
def disagreement(policy: CausalLMPolicy, max_length: int) -> Disagreement:
    """Compares both ways on a few texts of up to `max_length` tokens, at least 2."""
    rows = _rows(policy, max_length)
    texts = [text for row in rows for text in row]
    with policy.autocasting():
        _decode(policy, rows, max_length)
        trained = policy(_batch(texts)).log_probs
    reshard(policy)
    errors = torch.zeros_like(trained)
    for line, text in enumerate(texts):
        completion = slice(len(text.prompt), len(text.tokens))
        errors[line, completion] = (torch.stack(text.log_probs) - trained[line, completion]).abs()
    worst = int(errors.argmax())
    return Disagreement(float(errors.flatten()[worst]), worst % errors.shape[1] + 1)


def _rows(policy: CausalLMPolicy, max_length: int) -> list[list[_Text]]:
    """Returns the texts of three rows, in their order.

    All begin short, so that it shows if a model reads a text otherwise once it, or one beside it,
    is long.
    """
    generator = torch.Generator().manual_seed(0)
    half = max_length // 2

    def text(prompt_length: int, length: int) -> _Text:
        length = min(length, max_length)
        tokens = torch.randint(policy.vocab_size, (length,), generator=generator)
        return _Text(tokens.to(policy.device), max(1, min(prompt_length, length - 1)))

    return [
        [text(1, 7)],
        [text(3, 5), text(max_length - 3, max_length)],
        [text(2, 3), text(half, half + 4)],
    ]


def _decode(policy: CausalLMPolicy, rows: Sequence[Sequence[_Text]], max_length: int) -> None:
    """Reads every text through the decoder and notes the log-probs."""
    reading = {number: deque(texts) for number, texts in enumerate(rows)}
    decoder = Decoder(policy, {row: texts[0].prompt for row, texts in reading.items()}, max_length)
    while reading:
        tokens = torch.tensor(
            [reading[row][0].next_token if row in reading else 0 for row in decoder.rows],
            device=policy.device,
        )
        log_probs = categorical.log_prob(decoder.logits(), tokens)
        ended, prompts = [], {}
        for row, log_prob in zip(decoder.rows, log_probs, strict=True):
            if row not in reading:
                continue
            texts = reading[row]
            texts[0].log_probs.append(log_prob)
            if texts[0].is_complete:
                ended.append(row)
                texts.popleft()
                if texts:
                    prompts[row] = texts[0].prompt
                else:
                    del reading[row]
        decoder.advance(tokens, ended, prompts)


def _batch(texts: Sequence[_Text]) -> TokenBatch:
    """Returns the texts as the training forward reads them, all in one batch."""
    input_ids = stacked([text.tokens[None] for text in texts])
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    ends, starts = (
        torch.tensor(lengths, device=input_ids.device)[:, None]
        for lengths in zip(*[(len(text.tokens), len(text.prompt)) for text in texts], strict=True)
    )
    in_text = positions < ends
    return TokenBatch(input_ids, in_text, in_text & (positions >= starts))
