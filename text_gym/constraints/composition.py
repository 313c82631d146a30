"""Several constraints on one text at once.

A `Composition` follows texts token by token and gives the tokens that every constraint allows.
Constraints on tokens, wording and length are one automaton, so together they lead into no dead end;
what else there is joins in where masks meet. It knows no environment; wrappers ask it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, ClassVar, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from text_gym.constraints.constraint import (
    Constraint,
    HistoryConstraint,
    Mask,
    Rule,
    TextConstraint,
    TokenConstraint,
    Vocabulary,
)
from text_gym.constraints.dfa import intersection
from text_gym.constraints.minimum_length import MinimumLength
from text_gym.constraints.token_automaton import AnyText, TokenAutomaton, TokenGraph, WordingGraph
from text_gym.constraints.token_trie import VocabularyTries
from text_gym.episode import TokenIds
from text_gym.quoting import quoted
from text_gym.text_parts import completion_decoder

_CACHED_BYTES = 2**26
_OVERHEAD = 512  # of a mask and its keys, about


class EmptyMaskError(ValueError):
    """Says which constraints leave no token, and after which text."""


class Text(NamedTuple):
    """A text that is being written: a value, which never changes.

    Attributes:
        prompt_ids: (P,).
        written: Tokens that later states may share and extend.
        length: How many of them are of this text.
        states: What each rule knows of it.
    """

    prompt_ids: TokenIds
    written: list[int]
    length: int
    states: tuple[Any, ...]

    @property
    def tokens(self) -> list[int]:
        """The tokens of this text."""
        return self.written[: self.length]


class Composition:
    """Follows texts under several constraints.

    Args:
        constraints: At least one.
        vocabulary: What they may know of the task.

    Raises:
        TypeError: If a constraint is of no kind.
        EmptyMaskError: If no text at all satisfies those on tokens, wording and length.
    """

    _alive: ClassVar[WeakValueDictionary[Hashable, Composition]] = WeakValueDictionary()

    def __init__(self, constraints: Sequence[Constraint], vocabulary: Vocabulary) -> None:
        self.constraints = tuple(constraints)
        self.vocabulary = vocabulary
        kinds = (TokenConstraint, TextConstraint, MinimumLength, HistoryConstraint)
        for constraint in constraints:
            if not isinstance(constraint, kinds):
                raise TypeError(f"constraints must be of one of the four kinds, got {constraint!r}")
        fixed = [c.tokens(vocabulary) for c in constraints if isinstance(c, TokenConstraint)]
        self._usable = reduce(np.logical_and, fixed, vocabulary.usable)
        narrowed = replace(vocabulary, usable=self._usable)
        self._rules: list[Rule] = [
            *self._automaton(narrowed),
            *(c.rule(narrowed) for c in constraints if isinstance(c, HistoryConstraint)),
        ]
        self._masks: OrderedDict[Hashable, Mask] = OrderedDict()
        self._distinct: WeakValueDictionary[bytes, Mask] = WeakValueDictionary()
        self._most_masks = max(_CACHED_BYTES // (2 * vocabulary.size + _OVERHEAD), 16)

    @classmethod
    def of(cls, constraints: Sequence[Constraint], vocabulary: Vocabulary) -> Composition:
        """Returns the composition of these, built once while anyone holds it."""
        facts = (id(vocabulary.tokenizer), vocabulary.max_tokens, vocabulary.stop_ids.tobytes())
        key = (tuple(constraints), facts)
        composition = cls._alive.get(key)
        if composition is None:
            composition = cls._alive[key] = cls(constraints, vocabulary)
        return composition

    def _automaton(self, vocabulary: Vocabulary) -> list[TokenAutomaton]:
        """Returns the automaton of wording and length, if there are constraints on them."""
        dfas = [c.dfa() for c in self.constraints if isinstance(c, TextConstraint)]
        minima = [c.n_tokens for c in self.constraints if isinstance(c, MinimumLength)]
        if not dfas and not minima:
            return []
        graph: TokenGraph = AnyText(vocabulary.size)
        if dfas:
            tries = VocabularyTries.of(vocabulary.tokenizer)
            graph = WordingGraph(reduce(intersection, dfas), tries)
        automaton = TokenAutomaton(graph, _minimum(minima, vocabulary), vocabulary)
        if not automaton.satisfiable:
            limit = vocabulary.max_tokens
            raise EmptyMaskError(
                f"{_named(self.constraints)} allow no text"
                + (f" of at most {limit} tokens" if limit else "")
                + ", so not even its first token"
            )
        return [automaton]

    def start(self, prompt_ids: TokenIds) -> Text:
        """Returns the empty text after a prompt (P,)."""
        return Text(prompt_ids, [], 0, tuple(rule.start(prompt_ids) for rule in self._rules))

    def advance(self, text: Text, token: int) -> Text:
        """Returns the text with one more token."""
        prompt_ids, written, length, states = text
        if len(written) > length:
            written = text.tokens  # somebody went on from here already
        written.append(token)
        after = tuple(
            [rule.advance(state, token) for rule, state in zip(self._rules, states, strict=True)]
        )
        return Text(prompt_ids, written, length + 1, after)

    def replay(self, prompt_ids: Sequence[int], written: Sequence[int]) -> Text:
        """Returns the text that has these tokens."""
        text = self.start(np.array(prompt_ids, dtype=np.int64))
        return reduce(self.advance, written, text)

    def allowed(self, text: Text | None) -> Mask:
        """Returns the tokens that may be written next, (V,), read-only; equal masks are one.

        Args:
            text: None for a text that has ended: what may follow it is up to the vocabulary alone.

        Raises:
            EmptyMaskError: If there are none.
        """
        keys: Hashable = None
        if text is not None:
            pairs = zip(self._rules, text.states, strict=True)
            keys = tuple([rule.key(state) for rule, state in pairs])
        mask = self._masks.get(keys)
        if mask is None:
            mask = self._masks[keys] = self._computed(keys, text)
            if len(self._masks) > self._most_masks:
                self._masks.popitem(last=False)
        return mask

    def _computed(self, keys: Any, text: Text | None) -> Mask:
        if text is None:
            mask = self.vocabulary.usable.copy()
        else:
            each = [rule.allowed(key) for rule, key in zip(self._rules, keys, strict=True)]
            mask = reduce(np.logical_and, each, self._usable.copy())
            if not mask.any():
                raise EmptyMaskError(self.dead_end(self.constraints, text))
        mask.setflags(write=False)
        return self._distinct.setdefault(mask.tobytes(), mask)

    def dead_end(self, constraints: Sequence[Constraint], text: Text) -> str:
        """Returns the message that nothing may be written after this text."""
        tokenizer = self.vocabulary.tokenizer
        completion_ids = np.array(text.tokens, dtype=np.int64)
        completion = completion_decoder(tokenizer, text.prompt_ids)(completion_ids)
        return (
            f"{_named(constraints)} allow no token after {quoted(completion)}, written to the "
            f"prompt {quoted(tokenizer.decode(text.prompt_ids))}"
        )


def _minimum(minima: Sequence[int], vocabulary: Vocabulary) -> int:
    """Returns the fewest tokens of a text; those that cannot end early have as many as may be."""
    endless = (
        not vocabulary.usable[vocabulary.eos] and not vocabulary.usable[vocabulary.stop_ids].any()
    )
    return max([*minima, (vocabulary.max_tokens or 0) if endless else 0])


def _named(constraints: Sequence[Constraint]) -> str:
    return " and ".join(map(repr, constraints))
