"""No n-gram twice. It reads token ids; what they say does not matter."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from text_gym.constraints.constraint import HistoryConstraint, Mask, Vocabulary
from text_gym.episode import TokenIds


@dataclass(frozen=True)
class NoRepeatNgram(HistoryConstraint):
    """Forbids n tokens that already stood in the text in the same order.

    EOS is always allowed.

    Args:
        n: Length of the n-grams, in tokens; 1 or more.
        prompt: Whether those of the prompt count as well, and those that begin in it.

    Raises:
        ValueError: If `n` is not an integer of at least 1.

    Example:
        >>> NoRepeatNgram(3)
        NoRepeatNgram(n=3, prompt=False)
    """

    n: int
    prompt: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.n, int) or self.n < 1:
            raise ValueError(f"n must be an integer of at least 1, got {self.n!r}")

    def rule(self, vocabulary: Vocabulary) -> NgramRule:
        """Returns the rule that remembers the n-grams of a text."""
        return NgramRule(self.n, self.prompt, vocabulary)


class History:
    """The tokens of a text and what followed every n - 1 of them; it only grows."""

    def __init__(self, n: int, tokens: list[int]) -> None:
        self.n = n
        self.tokens: list[int] = []
        self._followers: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for token in tokens:
            self.append(token)

    def append(self, token: int) -> None:
        """Adds a token, and the n-gram that it completes."""
        place = len(self.tokens)
        self._followers.setdefault(self.before(place), []).append((place, token))
        self.tokens.append(token)

    def before(self, place: int) -> tuple[int, ...]:
        """Returns the n - 1 tokens before a place; near the start fewer, which match none."""
        return tuple(self.tokens[max(place - self.n + 1, 0) : place])

    def followers(self, length: int) -> frozenset[int]:
        """Returns what completed an n-gram that the first `length` tokens have begun again."""
        seen = self._followers.get(self.before(length), ())
        return frozenset(token for place, token in seen if place < length)


class Remembered(NamedTuple):
    """The first `length` tokens of a history, which later states may share and extend."""

    history: History
    length: int


class NgramRule:
    """Follows texts and forbids the tokens that would repeat an n-gram.

    A token costs O(1): states share their history, and only one that goes on from an earlier state
    than the last copies it.
    """

    def __init__(self, n: int, prompt: bool, vocabulary: Vocabulary) -> None:
        self._n = n
        self._prompt = prompt
        self._vocabulary = vocabulary

    def start(self, prompt_ids: TokenIds) -> Remembered:
        """Returns the state after a prompt."""
        tokens = prompt_ids.tolist() if self._prompt else []
        return Remembered(History(self._n, tokens), len(tokens))

    def advance(self, state: Remembered, token: int) -> Remembered:
        """Returns the state after one more token."""
        history, length = state
        if len(history.tokens) > length:
            history = History(self._n, history.tokens[:length])
        history.append(token)
        return Remembered(history, length + 1)

    def key(self, state: Remembered) -> Hashable:
        """Returns the forbidden tokens."""
        return state.history.followers(state.length)

    def allowed(self, key: Any) -> Mask:
        """Returns all tokens but the forbidden ones."""
        allowed = np.ones(self._vocabulary.size, dtype=np.bool_)
        allowed[list(key)] = False
        allowed[self._vocabulary.eos] = True
        return allowed
