"""A regular expression that the whole completion must match.

The expression is compiled by `outlines-core` (Rust's `regex-automata`), which is loaded when a
constraint is put to use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from text_gym.constraints.constraint import TextConstraint
from text_gym.constraints.dfa import DEAD, Dfa

# Compiled alone, an alternative would hide the longer ones after it: the automaton stops at the
# first match, so that "a|ab" would not match "ab". Nothing matches before this end mark.
_END = "\U0010ffff"
_END_OF_TEXT = 256


@dataclass(frozen=True)
class MatchRegex(TextConstraint):
    r"""Allows only completions that match a regular expression as a whole.

    The syntax is that of Rust's `regex` crate, close to Python's: `\d`, `\w` and `\s` are those of
    Unicode (and make large automata; `[0-9]` is small), `.` is anything but a line feed. Anchors,
    word boundaries, look-around and references to groups are refused. The noncharacter U+10FFFF
    never matches.

    Args:
        pattern: The expression.

    Example:
        >>> MatchRegex("(yes|no)[.!]")
        MatchRegex(pattern='(yes|no)[.!]')
    """

    pattern: str

    def dfa(self) -> Dfa:
        """Compiles the expression.

        Raises:
            ModuleNotFoundError: If `outlines-core` is not installed.
            ValueError: If the pattern is not one of this syntax, or matches no text.
        """
        transitions, first, finals = self._compiled()
        states = [first, *(state for state in transitions if state not in {first, *finals})]
        number = {state: index for index, state in enumerate(states)}
        table = np.full((len(states), 256), DEAD, dtype=np.int32)
        for state in states:
            for byte, target in transitions[state].items():
                if target in number:
                    table[number[state], byte] = number[target]
        return Dfa(table, np.array([self._matches(transitions, s, finals) for s in states]))

    def _compiled(self) -> tuple[dict[int, dict[int, int]], int, set[int]]:
        """Returns transitions by state and byte, the first state, and those after the end mark."""
        try:
            from outlines_core import Index, Vocabulary
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "MatchRegex needs outlines-core: pip install 'text-gym[constraints]'",
                name="outlines_core",
            ) from None
        every_byte = {bytes([byte]): [byte] for byte in range(256)}
        try:
            Index(self.pattern, Vocabulary(_END_OF_TEXT, every_byte))  # "a)|(b" must not pass
            index = Index(f"(?:{self.pattern}){_END}", Vocabulary(_END_OF_TEXT, every_byte))
        except ValueError as error:
            raise ValueError(
                "pattern must be a regular expression that matches some text, without anchors, "
                f"word boundaries, look-around and references, got {self.pattern!r}: {error}"
            ) from None
        return index.get_transitions(), index.get_initial_state(), index.get_final_states()

    @staticmethod
    def _matches(transitions: dict[int, dict[int, int]], state: int, finals: set[int]) -> bool:
        """Tells whether a text that ends in `state` matches: whether the end mark may follow."""
        for byte in _END.encode():
            target = transitions[state].get(byte)
            if target is None:
                return False
            state = target
        return state in finals
