"""Balanced brackets: go on from an opening, and close everything in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.tasks.parameters import Arguments, require
from text_gym.tokenizers import CharTokenizer

PAIRS = {")": "(", "]": "["}


def is_balanced(text: str) -> bool:
    """Tells whether every bracket of a text is closed by its own kind, in the right order.

    Example:
        >>> is_balanced("([])()"), is_balanced("([)]"), is_balanced("(")
        (True, False, False)
    """
    unclosed: list[str] = []
    for bracket in text:
        if bracket not in PAIRS:
            unclosed.append(bracket)
        elif not unclosed or unclosed.pop() != PAIRS[bracket]:
            return False
    return not unclosed


@dataclass(frozen=True)
class BalancedLength:
    """Rewards completions that balance the prompt by their length.

    1 is the longest that can: of at most `most` brackets, and as even or odd as the prompt.

    Attributes:
        most: Most brackets of a completion.

    Example:
        >>> reward = BalancedLength(6)
        >>> reward([Episode.from_text("(", text) for text in (")", ")()()", ")(", "))")])
        array([0.2, 1. , 0. , 0. ])
    """

    most: int

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the shares of the longest length, shape (n,)."""
        return np.array([self._share(episode.prompt, episode.completion) for episode in episodes])

    def _share(self, prompt: str, completion: str) -> float:
        longest = self.most - (self.most - len(prompt)) % 2
        return len(completion) / longest if is_balanced(prompt + completion) else 0.0


def balanced_brackets(max_new_tokens: int = 8, depth: int = 3) -> Arguments:
    """Asks for a long way to close the brackets that the prompt opens.

    ## Description

    `TextGen/BalancedBrackets-v0`. The prompt opens brackets of two kinds; the completion must make
    it a balanced text, and the longer, the better. Closing at once is safe and pays little: a task
    with a local optimum.

    ## Action Space

    `(`, `)`, `[`, `]` and EOS, V = 5.

    ## Starting State

    Any string of 1 to `depth` opening brackets, each with equal probability.

    ## Rewards

    0 unless prompt and completion together are balanced; then the length of the completion as a
    share of the longest possible. The optimal return is 1.

    ## Episode End

    EOS, or `max_new_tokens` tokens.

    ## Arguments

    Args:
        max_new_tokens: Most brackets written, EOS included, at least `depth`.
        depth: Most brackets of a prompt, from 1 to 10.

    Raises:
        ValueError: If one is not.
    """
    require("depth", depth, 1, 10)
    require("max_new_tokens", max_new_tokens, depth)
    lengths = range(1, depth + 1)
    return {
        "prompts": ["".join(text) for n in lengths for text in product("([", repeat=n)],
        "tokenizer": CharTokenizer("()[]"),
        "reward_function": BalancedLength(max_new_tokens),
        "max_new_tokens": max_new_tokens,
    }
