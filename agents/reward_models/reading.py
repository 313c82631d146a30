"""What a reward model reads: a prompt and a completion as one sequence of token ids.

Batches of texts at once, by the tokenizer's own compiled code. Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from agents.policy.token_batch import TokenBatch
from agents.supervised.sequences import TokenSequence, collate
from text_gym.prompt_template import FIELD, require_field


class _Frame(NamedTuple):
    """Holds the ids that stand before a prompt, between it and its completion, and after both."""

    before: list[int]
    between: list[int]
    after: list[int]


@dataclass(frozen=True)
class Reader:
    """Turns prompts and completions into token ids.

    A causal model reads the template with the prompt in it, then the completion, without end of
    text; an encoder reads the two as its tokenizer joins two texts. No text becomes a control
    token, unless the template names it. What is too long loses the beginning of its prompt, then of
    its completion.

    Args:
        tokenizer: Of the model.
        template: With a field `{prompt}`; of no use to an encoder.
        max_length: Most tokens of a text.
        is_causal: Whether the model is causal, or an encoder.

    Raises:
        ValueError: If the template has no field `{prompt}`, or `max_length` leaves room for none.
    """

    tokenizer: PreTrainedTokenizerBase
    template: str
    max_length: int
    is_causal: bool

    def __post_init__(self) -> None:
        """Checks the template and the room."""
        require_field(self.template, "template")
        taken = sum(map(len, self._frame))
        if self.max_length <= taken:
            raise ValueError(
                f"max_length must be above {taken}, the tokens around prompt and completion, got "
                f"{self.max_length}"
            )

    def read(self, prompts: Sequence[str], completions: Sequence[str]) -> TokenBatch:
        """Returns n texts as token ids, (n, T); the completion is what was chosen of each.

        Raises:
            ValueError: If there are none, or not as many prompts as completions.
        """
        if len(prompts) != len(completions) or not len(prompts):
            raise ValueError(
                "prompts must be as many as completions, and at least one, got "
                f"{len(prompts)} and {len(completions)}"
            )
        # Prompts come up again and again: several completions are compared.
        distinct = dict.fromkeys(prompts)
        of_prompt = dict(zip(distinct, self._encode(list(distinct)), strict=True))
        written = self._encode(list(completions))
        joined = [self._joined(of_prompt[p], c) for p, c in zip(prompts, written, strict=True)]
        return TokenBatch(*collate(joined))

    def _joined(self, prompt: list[int], completion: list[int]) -> TokenSequence:
        before, between, after = self._frame
        room = self.max_length - len(before) - len(between) - len(after)
        completion = completion[-room:]
        prompt = prompt[max(0, len(prompt) + len(completion) - room) :]
        context = [*before, *prompt, *between]
        ids = [*context, *completion, *after]
        # A text of no tokens is read as plain transformers reads one that is all padding.
        return TokenSequence(ids or [self.padding], len(context))

    @property
    def padding(self) -> int:
        """The id that plain transformers takes for padding: that of no text's last token."""
        for token_id in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token_id is not None:
                return int(token_id)
        raise ValueError("tokenizer must have a padding or EOS token, got neither")

    @cached_property
    def _frame(self) -> _Frame:
        if not self.is_causal:
            return _frame_of_pairs(self.tokenizer)
        head, _, tail = self.template.partition(FIELD)
        one = self.tokenizer.encode("a", add_special_tokens=False)
        called = self.tokenizer.encode("a")
        beginning = called[: len(called) - len(one)] if called[-len(one) :] == one else []
        before, between = (
            self.tokenizer.encode(part, add_special_tokens=False) for part in (head, tail)
        )
        return _Frame([*beginning, *before], between, [])

    def _encode(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return ids


def _frame_of_pairs(tokenizer: PreTrainedTokenizerBase) -> _Frame:
    """Returns what the tokenizer puts around two texts and between them."""
    first, second = (tokenizer.encode(text, add_special_tokens=False) for text in ("a", "b"))
    joined = tokenizer("a", "b")["input_ids"]
    start = _place(joined, first, 0)
    end = start + len(first)
    other = _place(joined, second, end)
    return _Frame(joined[:start], joined[end:other], joined[other + len(second) :])


def _place(ids: list[int], part: list[int], start: int) -> int:
    """Returns where a part first stands in a list of ids."""
    places = range(start, len(ids) - len(part) + 1)
    return next(place for place in places if ids[place : place + len(part)] == part)
