"""What a constraint is: the four kinds, and what they may know of a task.

A constraint is a small value (a frozen dataclass) that says which texts may be written. It holds no
text of its own; `text_gym.constraints.composition` follows texts and asks it. Nothing here knows
environments or wrappers.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from text_gym.constraints.dfa import Dfa
from text_gym.episode import TokenIds
from text_gym.task import STOP, TextTask
from text_gym.tokenizers import Tokenizer

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Holds what constraints may know of a task.

    Attributes:
        tokenizer: Gives V, EOS and the text of tokens.
        usable: The tokens that no state of the text could allow are False, (V,).
        stop_ids: Tokens that end the text and stay part of it, (k,).
        max_tokens: Most tokens of a finished text, or turn, EOS included; None where the limit
            truncates or may cut a turn short, because what is cut off is not finished.
    """

    tokenizer: Tokenizer
    usable: Mask
    stop_ids: TokenIds
    max_tokens: int | None

    @classmethod
    def of(cls, task: TextTask) -> Vocabulary:
        """Reads the vocabulary of a task."""
        size = task.tokenizer.vocab_size
        return cls(
            tokenizer=task.tokenizer,
            usable=np.ones(size, np.bool_) if task.action_mask is None else task.action_mask == 1,
            stop_ids=np.flatnonzero(task.stop_codes == STOP),
            max_tokens=_longest_finished(task),
        )

    @property
    def size(self) -> int:
        """Number of token ids, V."""
        return self.tokenizer.vocab_size

    @property
    def eos(self) -> int:
        """The id that ends a text without being part of it."""
        return self.tokenizer.eos_token_id


def _longest_finished(task: TextTask) -> int | None:
    turns = task.turns
    cut_short = turns is not None and (
        turns.max_turns is None or turns.max_turns * turns.max_turn_tokens > task.max_new_tokens
    )
    return None if cut_short or task.limit == "truncate" else task.max_turn_tokens


class Constraint:
    """Restricts the texts that may be written; derive from one of the four kinds below.

    Constraints are immutable, hashable and picklable; copying one gives the same object. Their
    `repr` says all that they restrict: by it a saved state tells them apart.
    """

    def __copy__(self) -> Self:
        """Returns the constraint itself: it never changes."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Returns the constraint itself: environment specs are deep-copied by every wrapper."""
        return self


class TokenConstraint(Constraint):
    """Allows the same tokens in every state."""

    def tokens(self, vocabulary: Vocabulary) -> Mask:
        """Returns the allowed tokens, (V,)."""
        raise NotImplementedError


class TextConstraint(Constraint):
    """Allows the finished texts that an automaton accepts, however they are cut into tokens."""

    def dfa(self) -> Dfa:
        """Returns the automaton that reads the UTF-8 bytes of a completion."""
        raise NotImplementedError


class Rule(Protocol):
    """Follows one kind of texts token by token.

    States are values: advancing gives a new one and leaves the old one as it was, so that a state
    may be kept, and gone on from twice.
    """

    def start(self, prompt_ids: TokenIds) -> Any:
        """Returns the state in which nothing has been written after a prompt (P,)."""
        ...

    def advance(self, state: Any, token: int) -> Any:
        """Returns the state after one more token."""
        ...

    def key(self, state: Any) -> Hashable:
        """Returns what the allowed tokens depend on; states with equal keys share their mask."""
        ...

    def allowed(self, key: Any) -> Mask:
        """Returns the tokens allowed in states with this key, (V,)."""
        ...


class HistoryConstraint(Constraint):
    """Allows tokens by whatever its rule remembers of the text."""

    def rule(self, vocabulary: Vocabulary) -> Rule:
        """Returns the rule that follows texts of this vocabulary."""
        raise NotImplementedError


def checked_token_ids(token_ids: TokenIds, size: int, constraint: Constraint) -> TokenIds:
    """Returns the ids; raises ValueError if one is not in [0, size)."""
    wrong = token_ids[(token_ids < 0) | (token_ids >= size)]
    if wrong.size:
        raise ValueError(f"token ids must be in [0, {size}), got {wrong.tolist()} in {constraint}")
    return token_ids
