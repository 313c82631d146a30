"""Which tokens keep the wording and the length on the way to a finished text.

`TokenAutomaton` follows an automaton over tokens and counts them. A token is allowed if, after it,
the text can still be finished: accepted, long enough, and within the token limit. So the mask
never leads into a dead end, and a text that is cut off by the limit is a finished one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from text_gym.constraints.constraint import Mask, Vocabulary
from text_gym.constraints.dfa import DEAD, Dfa
from text_gym.constraints.token_trie import VocabularyTries
from text_gym.episode import TokenIds

NEVER = np.iinfo(np.int32).max // 2
"""Stands for a number of tokens that is not to be had; adding to it does not overflow."""


class TokenGraph(Protocol):
    """States of a text, and where each token leads."""

    start: int
    accepts: NDArray[np.bool_]

    def targets(self, state: int) -> NDArray[np.int32]:
        """Returns the state after each token, (V,); `DEAD` if it is rejected."""
        ...

    def target(self, state: int, token: int) -> int:
        """Returns the state after one token, or `DEAD`."""
        ...


class AnyText:
    """The graph of one state that accepts every text: what a constraint on the length needs."""

    def __init__(self, size: int) -> None:
        self.start = 0
        self.accepts = np.ones(1, dtype=np.bool_)
        self._targets = np.zeros(size, dtype=np.int32)

    def targets(self, state: int) -> NDArray[np.int32]:
        """Returns zeros, (V,)."""
        return self._targets

    def target(self, state: int, token: int) -> int:
        """Returns 0."""
        return 0


class WordingGraph:
    """The tokens of a vocabulary read by an automaton over bytes; the start is a state apart.

    Args:
        dfa: What the whole completion must be.
        tries: The tokens by their bytes.
    """

    def __init__(self, dfa: Dfa, tries: VocabularyTries) -> None:
        self.start = len(dfa.table)
        self.accepts = np.append(dfa.accepts, dfa.accepts[0])
        self._table = dfa.table
        self._rows = dfa.table.tolist()
        self._tries = tries

    def targets(self, state: int) -> NDArray[np.int32]:
        """Returns the state after each token, (V,); `DEAD` if it is rejected or has no text."""
        if state == self.start:
            return self._tries.first.targets(self._table, 0)
        return self._tries.later.targets(self._table, state)

    def target(self, state: int, token: int) -> int:
        """Returns the state after one token; a token without text changes nothing."""
        pieces = self._tries.bytes
        piece = (pieces.first if state == self.start else pieces.later)[token]
        if piece is None:
            return state
        state = 0 if state == self.start else state
        for byte in piece:
            state = self._rows[state][byte]
            if state == DEAD:
                break
        return state


class Progress(NamedTuple):
    """Where a text stands.

    Attributes:
        state: Of the graph.
        missing: Tokens that must still be written before the text may end.
        left: Tokens that may still be written.
    """

    state: int
    missing: int
    left: int


class TokenAutomaton:
    """Follows a graph of tokens under a lower and an upper limit of length.

    A text that took a forbidden token has no more to keep: its state is None and allows all.

    Args:
        graph: What the text must be.
        minimum: Fewest tokens of a finished text, EOS not counted.
        vocabulary: Whose `usable` tokens the text may be made of.

    Attributes:
        satisfiable: Whether any text can be finished.
    """

    def __init__(self, graph: TokenGraph, minimum: int, vocabulary: Vocabulary) -> None:
        self._graph = graph
        self._eos = vocabulary.eos
        self._stops = vocabulary.stop_ids
        self._going_on = vocabulary.usable.copy()
        self._going_on[self._eos] = self._going_on[self._stops] = False
        self._usable_stops = self._stops[vocabulary.usable[self._stops]]
        self._needed = self._count_needed(minimum)
        finite = self._needed[self._needed < NEVER]
        self._enough = int(finite.max(initial=0)) + 1  # more tokens left than this say no more
        left = NEVER if vocabulary.max_tokens is None else vocabulary.max_tokens
        self._start = Progress(graph.start, minimum, left)
        self.satisfiable = bool(self._needed[minimum, graph.start] <= min(left, NEVER - 1))
        self._targets = lru_cache(maxsize=256)(graph.targets)

    def start(self, prompt_ids: TokenIds) -> Progress | None:
        """Returns the progress of the empty text."""
        return self._start

    def advance(self, progress: Progress | None, token: int) -> Progress | None:
        """Returns the progress after a token; None if it was a forbidden one."""
        if progress is None:
            return None
        state = self._graph.target(progress.state, token)
        missing, left = max(progress.missing - 1, 0), progress.left - 1
        if state == DEAD or self._needed[missing, state] > left:
            return None
        return Progress(state, missing, left)

    def key(self, progress: Progress | None) -> Progress | None:
        """Returns the progress, with as many tokens left as matter."""
        if progress is None or progress.left <= self._enough:
            return progress
        return progress._replace(left=self._enough)

    def allowed(self, key: Any) -> Mask:
        """Returns the tokens after which the text can still be finished, (V,)."""
        if key is None:
            return np.ones(len(self._going_on), dtype=np.bool_)
        state, missing, left = key
        targets = self._targets(state)
        needed = np.append(self._needed[max(missing - 1, 0)], NEVER)  # the last: of DEAD
        allowed: Mask = needed[targets] < left
        allowed[self._eos] = missing == 0 and self._graph.accepts[state]
        stopped = targets[self._stops]
        allowed[self._stops] = (
            (missing <= 1) & (stopped != DEAD) & np.append(self._graph.accepts, False)[stopped]
        )
        return allowed

    def _count_needed(self, minimum: int) -> NDArray[np.int32]:
        """Returns the fewest tokens that finish a text, (minimum + 1, S), EOS not counted.

        Entry (k, s) is that of a text in state s that misses k tokens; it is at least k.
        """
        sources, targets, stops = self._edges()
        accepts = self._graph.accepts
        needed = np.full((minimum + 1, len(accepts)), NEVER, dtype=np.int32)
        needed[0, accepts] = 0
        needed[0, stops & ~accepts] = 1
        ripe = np.zeros(len(accepts), dtype=np.bool_)
        for distance in range(1, len(accepts) + 1):
            ripe[:] = needed[0] == distance - 1
            found = sources[ripe[targets] & (needed[0, sources] > distance)]
            needed[0, found] = distance
            if not (found.size or (needed[0] == distance).any()):
                break
        for missing in range(1, minimum + 1):
            np.minimum.at(needed[missing], sources, needed[missing - 1, targets] + 1)
            if missing == 1:
                needed[1, stops] = 1
        return np.minimum(needed, NEVER)

    def _edges(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
        """Explores the graph from its start.

        Returns:
            Sources and targets of its distinct edges, and the states in which a stop token may
            finish the text.
        """
        accepts = self._graph.accepts
        stops = np.zeros(len(accepts), dtype=np.bool_)
        seen = np.zeros(len(accepts), dtype=np.bool_)
        seen[self._graph.start] = True
        waiting, sources, targets = [self._graph.start], [], []
        while waiting:
            state = waiting.pop()
            after = self._graph.targets(state)
            stopped = after[self._usable_stops]
            stops[state] = accepts[stopped[stopped != DEAD]].any()
            reached = np.zeros(len(accepts) + 1, dtype=np.bool_)  # the last: DEAD
            reached[after[self._going_on]] = True
            distinct = np.flatnonzero(reached[:-1])
            sources.append(np.full(len(distinct), state))
            targets.append(distinct)
            waiting.extend(distinct[~seen[distinct]].tolist())
            seen[distinct] = True
        return np.concatenate(sources), np.concatenate(targets), stops
