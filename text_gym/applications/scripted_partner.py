"""A partner for conversations that needs no model: it says what people really said, at random.

It does not listen, but for silence. It knows no environment and no data of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from text_gym.turns import Turn
from text_gym.words import split_words


@dataclass(frozen=True)
class ScriptedPartner:
    """Answers a turn with a line drawn from a list; to a turn without a word it has no answer.

    The draw is by the seed of the turn, so that it repeats with the seed of the environment.

    Args:
        lines: What it can say, at least one.

    Raises:
        ValueError: If there are none.

    Example:
        >>> import numpy as np
        >>> from text_gym.episode import Passage
        >>> def said(text: str) -> Turn:
        ...     return Turn("Hi", [Passage("policy", np.array([7]), text)], "eos", 9, 0, None, {})
        >>> ScriptedPartner(["Nice!"])([said("I won"), said("...")])
        ['Nice!', None]
    """

    lines: Sequence[str]

    def __post_init__(self) -> None:
        """Checks that there is something to say."""
        if not len(self.lines):
            raise ValueError(f"lines must hold at least one text, got {self.lines!r}")

    def __call__(self, turns: Sequence[Turn]) -> list[str | None]:
        """Returns an answer to each turn; None ends the conversation."""
        return [self._line(turn.seed) if split_words(turn.text) else None for turn in turns]

    def _line(self, seed: int) -> str:
        return self.lines[int(np.random.default_rng(seed).integers(len(self.lines)))]
