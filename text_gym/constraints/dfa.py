"""Finite automata over bytes: the meaning of every constraint on the wording.

UTF-8 is read byte by byte, because a token may hold a part of a character. Nothing here knows
tokens; `text_gym.constraints.token_automaton` reads whole tokens with these tables.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DEAD = -1
"""What a transition leads to when the text read so far cannot be continued."""


class Dfa(NamedTuple):
    """A deterministic automaton that reads bytes; it starts in state 0.

    Attributes:
        table: The next state for each state and byte, (S, 256) int32; `DEAD` rejects.
        accepts: Whether a text that ends in this state is accepted, (S,) bool.
    """

    table: NDArray[np.int32]
    accepts: NDArray[np.bool_]


def spelling_tree(texts: Sequence[bytes]) -> tuple[NDArray[np.int32], list[int]]:
    """Returns the trie of `texts` as a table (S, 256), and the state that spells each of them."""
    rows = [np.full(256, DEAD, dtype=np.int32)]
    ends = []
    for text in texts:
        state = 0
        for byte in text:
            if rows[state][byte] == DEAD:
                rows[state][byte] = len(rows)
                rows.append(np.full(256, DEAD, dtype=np.int32))
            state = int(rows[state][byte])
        ends.append(state)
    return np.stack(rows), ends


def searcher(texts: Sequence[bytes]) -> Dfa:
    """Returns the automaton whose accepting states are reached when one of `texts` ends here.

    Aho and Corasick, "Efficient string matching", Communications of the ACM 18(6), 1975.

    Example:
        >>> table, accepts = searcher([b"aa", b"ab"])
        >>> state, found = 0, []
        >>> for byte in b"aab":
        ...     state = table[state, byte]
        ...     found.append(bool(accepts[state]))
        >>> found
        [False, True, True]
    """
    table, ends = spelling_tree(texts)
    accepts = np.zeros(len(table), dtype=np.bool_)
    accepts[ends] = True
    tree = table.copy()
    table[0, table[0] == DEAD] = 0
    fallback = np.zeros(len(table), dtype=np.int32)  # longest proper suffix that is in the tree
    queue = deque(tree[0, tree[0] != DEAD].tolist())
    while queue:
        state = queue.popleft()
        accepts[state] |= accepts[fallback[state]]
        table[state] = np.where(tree[state] == DEAD, table[fallback[state]], tree[state])
        children = tree[state] != DEAD
        fallback[tree[state, children]] = table[fallback[state], children]
        queue.extend(tree[state, children].tolist())
    return Dfa(table, accepts)


def intersection(first: Dfa, second: Dfa) -> Dfa:
    """Returns the automaton of the texts that both accept: the reachable part of the product."""
    width = len(second.table)
    numbers = {0: 0}  # pair of states, as one integer -> state of the product
    pairs, rows = [0], []
    for pair in pairs:  # grows while it is read
        one, other = first.table[pair // width], second.table[pair % width]
        row = np.where((one == DEAD) | (other == DEAD), DEAD, one.astype(np.int64) * width + other)
        for target in np.unique(row[row != DEAD]).tolist():
            if target not in numbers:
                numbers[target] = len(pairs)
                pairs.append(target)
        rows.append([DEAD if target == DEAD else numbers[target] for target in row.tolist()])
    left, right = np.divmod(np.array(pairs), width)
    return Dfa(np.array(rows, dtype=np.int32), first.accepts[left] & second.accepts[right])
