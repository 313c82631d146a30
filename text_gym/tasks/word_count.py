"""Word count: as many words as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.rewards import count_words
from text_gym.tasks.parameters import Arguments, require
from text_gym.tokenizers import WordTokenizer

WORDS = ("i", "am", "fine", "thanks", "and", "you")
MARKS = (",", "?")


@dataclass(frozen=True)
class WordShare:
    """Rewards the number of words as a share of the most that fit.

    Attributes:
        most: Most words of a completion.

    Example:
        >>> WordShare(4)([Episode.from_text("you?", text) for text in ("fine, thanks", "?")])
        array([0.5, 0. ])
    """

    most: int

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the shares, shape (n,)."""
        return np.array([count_words(episode.completion) / self.most for episode in episodes])


def word_count(max_new_tokens: int = 5) -> Arguments:
    """Asks for words, whichever.

    ## Description

    `TextGen/WordCount-v0`. The task of `TextGen-v0` with a smaller vocabulary, in which all
    completions can be enumerated. What has to be learnt is to avoid EOS and punctuation.

    ## Action Space

    Six words, two punctuation marks and EOS, V = 9.

    ## Starting State

    The prompt "and you?".

    ## Rewards

    The number of words divided by `max_new_tokens`. The optimal return is 1.

    ## Episode End

    EOS, or `max_new_tokens` tokens.

    ## Arguments

    Args:
        max_new_tokens: Most words, at least 1.

    Raises:
        ValueError: If it is not.
    """
    require("max_new_tokens", max_new_tokens, 1)
    return {
        "prompts": ["and you?"],
        "tokenizer": WordTokenizer([*WORDS, *MARKS]),
        "reward_function": WordShare(max_new_tokens),
        "max_new_tokens": max_new_tokens,
    }
