"""A text of several turns while it is being written: who wrote what, and what room is left.

A `Conversation` is one row's record; `go_on` asks the responder for many rows at once. Neither
knows observations or rewards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from text_gym.episode import Episode, Passage, TokenIds, Writer
from text_gym.quoting import quoted
from text_gym.task import STOP_REASONS, EncodedPrompt, TextTask
from text_gym.text_parts import completion_decoder
from text_gym.turns import Responder, ResponderError, Turn, TurnRules, responses


class Conversation:
    """Follows one text from turn to turn.

    Args:
        task: With a responder.
        start: The prompt.

    Attributes:
        passages: What was written in the turns that have ended.
    """

    def __init__(self, task: TextTask, start: EncodedPrompt) -> None:
        self._task = task
        self._start = start
        self.passages: list[Passage] = []

    @property
    def length(self) -> int:
        """Tokens before the turn that is being written, the prompt included."""
        return len(self._start.token_ids) + sum(len(one.token_ids) for one in self.passages)

    @property
    def room(self) -> int:
        """Most tokens of the turn that is being written; 0 once the policy's are used up."""
        return min(self._rules.max_turn_tokens, self._task.max_new_tokens - self._count("policy"))

    @property
    def n_turns(self) -> int:
        """Turns of the policy that have ended."""
        return sum(one.writer == "policy" for one in self.passages)

    @property
    def is_over(self) -> bool:
        """Whether the policy may not have another turn."""
        return self.room == 0 or self.n_turns == self._rules.max_turns

    def pays_at(self, code: int) -> bool:
        """Tells whether a text whose last turn ends so is finished, and therefore paid for.

        It is where the responder ended it, though the turn was cut short.
        """
        return self._task.pays_at(code) or not self.is_over

    @property
    def token_ids(self) -> TokenIds:
        """All tokens before the turn that is being written, the prompt included."""
        return _joined(self._start, self.passages)

    @property
    def responder(self) -> Responder:
        """Who is asked."""
        return self._rules.responder

    def with_unfinished(self, token_ids: TokenIds) -> list[Passage]:
        """Returns all passages, what was written since the last turn ended included."""
        said = self._said(token_ids.copy())
        return [*self.passages, said] if len(token_ids) else self.passages

    def end_turn(self, token_ids: TokenIds) -> None:
        """Takes note of what the policy wrote in a turn, (T,), which is kept, not copied."""
        self.passages.append(self._said(token_ids))

    def turn(self, code: int, seed: int) -> Turn:
        """Returns what a responder is asked about the turn that has just ended."""
        prompt = self._start.prompt
        return Turn(
            prompt.text,
            tuple(self.passages),
            STOP_REASONS[code],
            self._rules.max_response_tokens - self._count("responder"),
            seed,
            prompt.reference,
            prompt.metadata,
        )

    def episode(self, code: int) -> Episode:
        """Returns the finished text."""
        ids = self._completion_ids()
        return self._task.episode(self._start, ids, code, tuple(self.passages))

    def turn_episode(self, code: int) -> Episode:
        """Returns the policy's latest turn as a text of its own, the prompt of which is all before.

        That is what a reward for each turn is given.
        """
        place = max(i for i, one in enumerate(self.passages) if one.writer == "policy")
        before, said = self.passages[:place], self.passages[place]
        return Episode(
            prompt="\n".join([self._start.prompt.text, *(one.text for one in before)]),
            prompt_ids=_joined(self._start, before),
            completion_ids=said.token_ids,
            stop_reason=STOP_REASONS[code],
            reference=self._start.prompt.reference,
            metadata=self._start.prompt.metadata,
            decode=lambda _: said.text,
        )

    def respond(self, turn: Turn, text: str) -> TokenIds:
        """Takes note of an answer, and returns its tokens.

        Raises:
            ResponderError: If it cannot be spelled, has no token, or more than there is room for.
        """
        try:
            last = int(turn.passages[-1].token_ids[-1])
            token_ids = self._task.encode_response(text, last)
        except ValueError as error:
            raise ResponderError(
                f"responder must return text that can be spelled: {error}"
            ) from error
        if not 1 <= len(token_ids) <= turn.room:
            raise ResponderError(
                f"responder must return 1 to {turn.room} tokens (max_response_tokens, less earlier "
                f"answers; None ends the text), got {len(token_ids)} in {quoted(text)}; on "
                f"prompt={quoted(turn.prompt)}, turn {turn.number}: {quoted(turn.text)}"
            )
        self.passages.append(Passage("responder", token_ids, text))
        return token_ids

    def recorded(self) -> list[dict[str, Any]]:
        """Returns the passages in values that JSON can hold."""
        return [
            {"writer": one.writer, "token_ids": one.token_ids.tolist(), "text": one.text}
            for one in self.passages
        ]

    def recall(self, passages: Sequence[Mapping[str, Any]]) -> None:
        """Goes on from what `recorded` returned."""
        self.passages = [
            Passage(one["writer"], np.array(one["token_ids"], dtype=np.int64), one["text"])
            for one in passages
        ]

    @property
    def _rules(self) -> TurnRules:
        assert self._task.turns is not None
        return self._task.turns

    def _completion_ids(self) -> TokenIds:
        """Returns the policy's tokens in the turns that have ended, (T,)."""
        return np.concatenate([one.token_ids for one in self.passages if one.writer == "policy"])

    def _count(self, writer: Writer) -> int:
        return sum(len(one.token_ids) for one in self.passages if one.writer == writer)

    def _said(self, token_ids: TokenIds) -> Passage:
        """Returns what the policy wrote, as it reads after all that stands before it."""
        text = completion_decoder(self._task.tokenizer, self.token_ids)(token_ids)
        token_ids.setflags(write=False)  # episodes share them
        return Passage("policy", token_ids, text)


def _joined(start: EncodedPrompt, passages: Sequence[Passage]) -> TokenIds:
    return np.concatenate([start.token_ids, *(one.token_ids for one in passages)])


def go_on(
    conversations: Sequence[Conversation], codes: Sequence[int], seeds: Sequence[int]
) -> list[TokenIds | None]:
    """Asks the responder to continue texts whose turn has just ended, all at once.

    Args:
        conversations: k texts that are not over.
        codes: How each turn ended.
        seeds: One per text.

    Returns:
        The tokens of each answer; None ends the text.

    Raises:
        ResponderError: If the responder fails.
    """
    if not conversations:
        return []
    turns = [
        one.turn(code, seed) for one, code, seed in zip(conversations, codes, seeds, strict=True)
    ]
    texts = responses(conversations[0].responder, turns)
    return [
        None if text is None else one.respond(turn, text)
        for one, turn, text in zip(conversations, turns, texts, strict=True)
    ]
