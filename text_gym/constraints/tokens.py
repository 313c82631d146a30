"""Forbidding tokens, or allowing only some: the same in every state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from text_gym.constraints.constraint import Mask, TokenConstraint, Vocabulary, checked_token_ids
from text_gym.episode import TokenIds


def _distinct(token_ids: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({int(token) for token in token_ids}))


@dataclass(frozen=True)
class BannedTokens(TokenConstraint):
    """Forbids tokens.

    EOS may be among them: texts then go on to a stop token or to the token limit.

    Args:
        token_ids: What no completion may hold; at least one.

    Raises:
        ValueError: If `token_ids` is empty.

    Example:
        >>> BannedTokens([3, 5])
        BannedTokens(token_ids=(3, 5))
    """

    token_ids: Iterable[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "token_ids", _distinct(self.token_ids))
        if not self.token_ids:
            raise ValueError("token_ids must name at least one token, got none")

    def tokens(self, vocabulary: Vocabulary) -> Mask:
        """Returns all but the banned tokens; raises ValueError for an id outside [0, V)."""
        allowed = np.ones(vocabulary.size, dtype=np.bool_)
        allowed[checked_token_ids(_array(self.token_ids), vocabulary.size, self)] = False
        return allowed


@dataclass(frozen=True)
class AllowedTokens(TokenConstraint):
    """Allows only some tokens, and EOS.

    EOS need not be named: it is no part of the text. `MinimumLength` keeps a text from ending.

    Args:
        token_ids: What completions may be made of.

    Example:
        >>> AllowedTokens(range(3))
        AllowedTokens(token_ids=(0, 1, 2))
    """

    token_ids: Iterable[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "token_ids", _distinct(self.token_ids))

    def tokens(self, vocabulary: Vocabulary) -> Mask:
        """Returns the tokens named and EOS; raises ValueError for an id outside [0, V)."""
        allowed = np.zeros(vocabulary.size, dtype=np.bool_)
        allowed[checked_token_ids(_array(self.token_ids), vocabulary.size, self)] = True
        allowed[vocabulary.eos] = True
        return allowed


def _array(token_ids: Iterable[int]) -> TokenIds:
    return np.array(list(token_ids), dtype=np.int64)
