"""A list of the only completions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from text_gym.constraints.constraint import TextConstraint
from text_gym.constraints.dfa import Dfa, spelling_tree
from text_gym.constraints.wording import checked_texts


@dataclass(frozen=True)
class AllowedCompletions(TextConstraint):
    """Allows only the completions of a list.

    Each may be written in every way of cutting it into tokens, not only in the way in which the
    tokenizer would cut it: the list restricts texts, and an episode is rewarded as a text.

    Args:
        completions: The texts; the empty one stands for EOS at once.

    Raises:
        TypeError: If `completions` is a single string.
        ValueError: If `completions` is empty.

    Example:
        >>> AllowedCompletions(["yes", "no"])
        AllowedCompletions(completions=('yes', 'no'))
    """

    completions: Iterable[str]

    def __post_init__(self) -> None:
        checked = checked_texts(self.completions, "completions", empty=True)
        object.__setattr__(self, "completions", checked)

    def dfa(self) -> Dfa:
        """Returns the automaton of the completions: their trie."""
        table, ends = spelling_tree([completion.encode() for completion in self.completions])
        accepts = np.zeros(len(table), dtype=np.bool_)
        accepts[ends] = True
        return Dfa(table, accepts)
