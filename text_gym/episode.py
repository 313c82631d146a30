"""The finished text: what feedback is given on; and who wrote which part of it.

An `Episode` knows its own words and where they came from. It does not know rewards, policies or
environments; reward functions read it, environments and rollouts write it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

StopReason = Literal["eos", "length", "stop"]
TokenIds = NDArray[np.int64]
Writer = Literal["policy", "responder"]


@dataclass(frozen=True, eq=False)
class Passage:
    """What one side wrote in one go.

    Attributes:
        writer: Who.
        token_ids: As the policy saw them, the token that ended a turn included, (T,).
        text: What they read as; of a responder, what it returned.
    """

    writer: Writer
    token_ids: TokenIds
    text: str

    def __eq__(self, other: object) -> bool:
        """Compares ids number by number."""
        if not isinstance(other, Passage):
            return NotImplemented
        return (self.writer, self.text) == (other.writer, other.text) and np.array_equal(
            self.token_ids, other.token_ids
        )

    __hash__ = None  # type: ignore[assignment]  # equality reads arrays


def _join_code_points(token_ids: TokenIds) -> str:
    return "".join(map(chr, token_ids.tolist()))


@dataclass(frozen=True, eq=False)
class Episode:
    """Holds one finished text: its prompt, its completion and how it ended.

    Immutable and cheap to copy: `copy.deepcopy` returns the episode itself, because
    Stable-Baselines3 deep-copies every `info`. Pickling decodes the completion and leaves the
    tokenizer behind.

    Attributes:
        prompt: The text that was continued.
        prompt_ids: Token ids of the prompt as the policy saw it, shape (P,).
        completion_ids: Token ids that the policy wrote, shape (T,), EOS included if it wrote one;
            of several turns, those of all its turns one after another.
        stop_reason: `"eos"`, `"stop"` (a stop token) or `"length"` (the token limit).
        reference: The expected answer, if the prompt came with one.
        metadata: Whatever else the prompt came with.
        decode: Turns the ids of a completion, or of its beginning, into text as it stands after the
            prompt; called once, when `completion` is first read.
        passages: Of a text of several turns, who wrote what, in order; empty for a text of one.
    """

    prompt: str
    prompt_ids: TokenIds
    completion_ids: TokenIds
    stop_reason: StopReason
    reference: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    decode: Callable[[TokenIds], str] = field(default=_join_code_points, repr=False)
    passages: tuple[Passage, ...] = ()

    @classmethod
    def from_text(
        cls,
        prompt: str = "",
        completion: str = "",
        *,
        reference: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        stop_reason: StopReason = "eos",
    ) -> Episode:
        """Builds an episode from texts alone, one token per character.

        Example:
            >>> Episode.from_text("How are you?", "fine").completion
            'fine'
        """
        return cls(
            prompt=prompt,
            prompt_ids=np.array([ord(character) for character in prompt], dtype=np.int64),
            completion_ids=np.array([ord(character) for character in completion], dtype=np.int64),
            stop_reason=stop_reason,
            reference=reference,
            metadata=metadata or {},
        )

    @classmethod
    def of_fields(cls, fields: dict[str, Any]) -> Episode:
        """Builds an episode from all its attributes by name, on the environments' hot path.

        A frozen dataclass sets its attributes one by one, which takes three times as long.
        """
        episode = object.__new__(cls)
        episode.__dict__.update(fields)
        return episode

    @property
    def completion(self) -> str:
        """The text that the policy wrote, as it stands after the prompt, without EOS.

        Of several turns, what it said in each, a line each. Read once: `functools.cached_property`
        would take a lock, before Python 3.12.
        """
        read: str | None = self.__dict__.get("completion")
        if read is None:
            read = self.__dict__["completion"] = self._read()
        return read

    def _read(self) -> str:
        if self.passages:
            return "\n".join(one.text for one in self.passages if one.writer == "policy")
        return self.decode(self.completion_ids)

    @property
    def turns(self) -> tuple[Passage, ...]:
        """Who wrote what after the prompt, in order; the only passage of one turn is the policy's.

        Example:
            >>> [(one.writer, one.text) for one in Episode.from_text("Hi", "Hello").turns]
            [('policy', 'Hello')]
        """
        return self.passages or (Passage("policy", self.completion_ids, self.completion),)

    @property
    def continuation(self) -> str:
        """What was written after the prompt, whoever wrote it: of several turns, a line each."""
        return "\n".join(one.text for one in self.turns)

    def __eq__(self, other: object) -> bool:
        """Compares what was written, not the tokenizer that reads it."""
        if not isinstance(other, Episode):
            return NotImplemented
        return (
            self.prompt == other.prompt
            and self.stop_reason == other.stop_reason
            and self.reference == other.reference
            and self.metadata == other.metadata
            and np.array_equal(self.prompt_ids, other.prompt_ids)
            and np.array_equal(self.completion_ids, other.completion_ids)
            and self.completion == other.completion
            and self.passages == other.passages
        )

    __hash__ = None  # type: ignore[assignment]  # equality reads arrays

    def __copy__(self) -> Episode:
        """Returns the episode itself: it never changes."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Episode:
        """Returns the episode itself: it never changes."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Decodes the completion, so that the tokenizer need not travel."""
        return {**self.__dict__, "completion": self.completion, "decode": _join_code_points}
