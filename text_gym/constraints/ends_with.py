"""How a text must end."""

from __future__ import annotations

from dataclasses import dataclass

from text_gym.constraints.constraint import TextConstraint
from text_gym.constraints.dfa import Dfa, searcher
from text_gym.constraints.wording import checked_text


@dataclass(frozen=True)
class EndsWith(TextConstraint):
    """Allows a text to end only with a given ending.

    EOS is allowed only where the completion ends so, and near the token limit only tokens that lead
    to the ending in time are, so that the limit cuts no text off before it.

    Args:
        ending: The last characters of a completion.

    Raises:
        ValueError: If `ending` is empty.

    Example:
        >>> EndsWith(".")
        EndsWith(ending='.')
    """

    ending: str

    def __post_init__(self) -> None:
        checked_text(self.ending, "ending")

    def dfa(self) -> Dfa:
        """Returns the automaton of the texts that end so."""
        return searcher([self.ending.encode()])
