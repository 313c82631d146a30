"""Reading a whole vocabulary with an automaton at once.

Tokens that begin alike are read together: their bytes form a trie, and one pass over it, level by
level and in numpy, gives the state that each token leads to. Prefixes that are rejected are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from text_gym.constraints.dfa import DEAD
from text_gym.constraints.token_bytes import token_bytes
from text_gym.tokenizers import Tokenizer


class TokenTrie:
    """Holds the tokens of a vocabulary by their bytes.

    Args:
        pieces: The bytes of each token, V entries; None for tokens without text.
    """

    def __init__(self, pieces: Sequence[bytes | None]) -> None:
        prefixes = {piece[:end] for piece in pieces if piece for end in range(1, len(piece) + 1)}
        ordered = [b"", *sorted(prefixes, key=lambda prefix: (len(prefix), prefix))]
        number = {prefix: node for node, prefix in enumerate(ordered)}
        parents = np.array([number[prefix[:-1]] for prefix in ordered[1:]], dtype=np.intp)
        self._byte = np.array([0, *(prefix[-1] for prefix in ordered[1:])], dtype=np.intp)
        # In this order the children of a node stand together.
        self._n_children = np.bincount(parents, minlength=len(ordered))
        self._first_child = 1 + np.cumsum(self._n_children) - self._n_children
        self._node = np.array(
            [len(ordered) if piece is None else number[piece] for piece in pieces], dtype=np.intp
        )

    def targets(self, table: NDArray[np.int32], state: int) -> NDArray[np.int32]:
        """Returns the state that each token leads to from `state`, (V,); `DEAD` if rejected."""
        reached = np.full(len(self._byte) + 1, DEAD, dtype=np.int32)  # the last: no text
        reached[0] = state
        nodes = np.zeros(1, dtype=np.intp)
        while nodes.size:
            counts = self._n_children[nodes]
            offsets = np.repeat(self._first_child[nodes] - np.cumsum(counts) + counts, counts)
            children = offsets + np.arange(len(offsets))
            states = table[np.repeat(reached[nodes], counts), self._byte[children]]
            alive = states != DEAD
            nodes = children[alive]
            reached[nodes] = states[alive]
        return reached[self._node]


class VocabularyTries:
    """Holds the tokens of a tokenizer as they come first in a completion, and as they come later.

    Attributes:
        first: The trie of first tokens.
        later: The trie of the others.
        bytes: What each token adds.
    """

    _of_tokenizer: ClassVar[WeakValueDictionary[int, VocabularyTries]] = WeakValueDictionary()

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer  # keeps its id() from being given to another
        self.bytes = token_bytes(tokenizer)
        self.first = TokenTrie(self.bytes.first)
        self.later = (
            self.first if self.bytes.first == self.bytes.later else TokenTrie(self.bytes.later)
        )

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> VocabularyTries:
        """Returns the tries of a tokenizer, built once while anyone holds them."""
        tries = cls._of_tokenizer.get(id(tokenizer))
        if tries is None:
            tries = cls._of_tokenizer[id(tokenizer)] = cls(tokenizer)
        return tries
