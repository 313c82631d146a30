"""No early end. It counts tokens; what they say does not matter."""

from __future__ import annotations

from dataclasses import dataclass

from text_gym.constraints.constraint import Constraint


@dataclass(frozen=True)
class MinimumLength(Constraint):
    """Forbids ending a text before it has `n_tokens` tokens.

    EOS is not counted. A stop token is: it is part of the text.

    Args:
        n_tokens: The fewest tokens of a finished text; 1 or more.

    Raises:
        ValueError: If `n_tokens` is not an integer of at least 1.

    Example:
        >>> MinimumLength(3)
        MinimumLength(n_tokens=3)
    """

    n_tokens: int

    def __post_init__(self) -> None:
        if not isinstance(self.n_tokens, int) or self.n_tokens < 1:
            raise ValueError(f"n_tokens must be an integer of at least 1, got {self.n_tokens!r}")
