"""Turns: a text that somebody else continues whenever the policy has had its say.

A `Responder` is asked when the policy ends its turn: a user's next line, a tool's result, a game's
move. Here is what it is asked, and how its answer is checked. Nothing here steps an environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from text_gym.episode import Passage, StopReason
from text_gym.number_rules import require_count
from text_gym.prompt_template import require_field
from text_gym.quoting import quoted


@dataclass(frozen=True)
class Turn:
    """A turn that the policy has just ended, and all that came before: what a responder is asked.

    Attributes:
        prompt: The text at the beginning.
        passages: What was written after it; the last is the policy's turn.
        stop_reason: How the turn ended: `"eos"`, `"stop"`, or `"length"` at `max_turn_tokens`.
        room: Most tokens of an answer, those of `response_template` included.
        seed: For a responder that draws at random: from the random stream of the environment, a new
            one each turn.
        reference: The expected answer, if the prompt came with one.
        metadata: Whatever else the prompt came with.
    """

    prompt: str
    passages: Sequence[Passage]
    stop_reason: StopReason
    room: int
    seed: int
    reference: str | None
    metadata: Mapping[str, Any]

    @property
    def text(self) -> str:
        """What the policy said in this turn."""
        return self.passages[-1].text

    @property
    def number(self) -> int:
        """Which of the policy's turns this is, from 1."""
        return sum(passage.writer == "policy" for passage in self.passages)


class Responder(Protocol):
    """Continues texts whose turn has ended, a batch at a time."""

    def __call__(self, turns: Sequence[Turn], /) -> Sequence[str | None]:
        """Returns what is appended to each of n texts; None ends the text."""
        ...


class TurnRules(NamedTuple):
    """Holds how a text of several turns is written.

    Attributes:
        responder: Asked when a turn ends.
        template: What the policy sees of an answer; `{response}` stands for its text.
        max_response_tokens: Most tokens of all answers to one text.
        max_turn_tokens: Most tokens of one turn of the policy.
        max_turns: Most turns of the policy; None: as many as fit.
    """

    responder: Responder
    template: str
    max_response_tokens: int
    max_turn_tokens: int
    max_turns: int | None


RESPONSE = "{response}"


def turn_rules(
    responder: Responder | None,
    *,
    template: str,
    max_new_tokens: int,
    max_response_tokens: int | None,
    max_turn_tokens: int | None,
    max_turns: int | None,
) -> TurnRules | None:
    """Returns the rules that a task's arguments make; None for a text of one turn.

    Raises:
        TypeError: If a number is no integer, the responder no callable or the template no text.
        ValueError: If a number is below 1, there is no room for answers, the template leaves them
            out, or there is something to say of turns without a responder.
    """
    numbers = {
        "max_response_tokens": max_response_tokens,
        "max_turn_tokens": max_turn_tokens,
        "max_turns": max_turns,
    }
    given = {name: number for name, number in numbers.items() if number is not None}
    if responder is None:
        if given:
            raise ValueError(
                f"{next(iter(given))} must be left out without a responder, got {given}"
            )
        return None
    if not callable(responder):
        raise TypeError(f"responder must be a callable or None, got {quoted(responder)}")
    for name, number in given.items():
        require_count(number, name)
    if max_response_tokens is None:
        raise ValueError("max_response_tokens must be given with a responder, got None")
    require_field(template, "response_template", RESPONSE)
    turn_tokens = min(max_turn_tokens or max_new_tokens, max_new_tokens)
    return TurnRules(responder, template, max_response_tokens, turn_tokens, max_turns)


class ResponderError(RuntimeError):
    """Says how a responder failed, and on which text."""


def responses(responder: Responder, turns: Sequence[Turn]) -> list[str | None]:
    """Asks a responder, and checks what it returns.

    Raises:
        ResponderError: If it raises, or returns another number of answers or something else than
            str or None; with the text in question.

    Example:
        >>> import numpy as np
        >>> turn = Turn("Hi", [Passage("policy", np.array([7]), "Hello")], "eos", 9, 0, None, {})
        >>> responses(lambda turns: [turn.text.upper() for turn in turns], [turn])
        ['HELLO']
    """
    try:
        answers = list(responder(turns))
    except Exception as error:
        raise ResponderError(
            f"responder raised {type(error).__name__}: {error}; on {_shown(turns)}"
        ) from error
    if len(answers) != len(turns):
        raise ResponderError(
            f"responder must return one answer per turn ({len(turns)}), got {len(answers)}; on "
            f"{_shown(turns)}"
        )
    for turn, answer in zip(turns, answers, strict=True):
        if answer is not None and not isinstance(answer, str):
            raise ResponderError(
                f"responder must return str or None, got {quoted(repr(answer))}; on "
                f"{_shown([turn])}"
            )
    return answers


def _shown(turns: Sequence[Turn]) -> str:
    turn = turns[0]
    text = f"prompt={quoted(turn.prompt)}, turn {turn.number}: {quoted(turn.text)}"
    return text if len(turns) == 1 else f"a batch of {len(turns)}, the first {text}"
