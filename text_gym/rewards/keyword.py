"""Given words as a reward: which of them occur. It knows no synonyms and no inflections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.words import fold, split_words

KeywordMode = Literal["any", "all", "count", "fraction"]

_REWARD_OF_COUNTS: Final[dict[str, Callable[[list[int]], float]]] = {
    "any": lambda counts: float(any(counts)),
    "all": lambda counts: float(all(counts)),
    "count": lambda counts: float(sum(counts)),
    "fraction": lambda counts: sum(map(bool, counts)) / len(counts),
}


@dataclass(frozen=True)
class Keyword:
    """Rewards a completion for the keywords in it.

    Keywords match whole words, whatever their case and Unicode composition; what a word is stands
    in `text_gym.words`. So "cat" is not found in "cats" or "cat-like", and a Chinese
    keyword is found wherever its characters stand together. A keyword may have several words,
    which must follow each other, with any punctuation between.

    Args:
        keywords: The words or phrases to look for; distinct, made of words and spaces alone.
        mode: `"any"`: 1 if at least one occurs, else 0. `"all"`: 1 if every one occurs, else 0.
            `"count"`: the number of occurrences, overlapping ones included; without an upper
            limit, so a policy may learn to repeat them. `"fraction"`: the share that occurs.

    Raises:
        TypeError: If `keywords` is a single string.
        ValueError: If `keywords` is empty, holds one twice, or one that is not made of words, or
            `mode` is another word.

    Example:
        >>> reward = Keyword(["cat", "ice cream", "dog", "tea"], mode="fraction")
        >>> reward([Episode.from_text("", "Ice cream! A cat."), Episode.from_text("", "cats")])
        array([0.5, 0. ])
    """

    keywords: Sequence[str]
    mode: KeywordMode = "any"
    _sought: tuple[tuple[str, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.keywords, str):
            raise TypeError(f"keywords must be a list of strings, received {self.keywords!r}")
        if self.mode not in get_args(KeywordMode):
            raise ValueError(f"mode must be one of {get_args(KeywordMode)}, received {self.mode!r}")
        object.__setattr__(self, "keywords", tuple(self.keywords))
        sought = tuple(_keyword_words(keyword) for keyword in self.keywords)
        if not sought or len(set(sought)) < len(sought):
            raise ValueError(
                f"keywords must be at least one, all distinct, received {list(self.keywords)}"
            )
        object.__setattr__(self, "_sought", sought)

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the rewards by `mode`, shape (n,)."""
        reward = _REWARD_OF_COUNTS[self.mode]
        return np.array([reward(self._counts(e.completion)) for e in episodes], dtype=np.float64)

    def _counts(self, completion: str) -> list[int]:
        words = split_words(fold(completion))
        return [_count_occurrences(keyword, words) for keyword in self._sought]


def _keyword_words(keyword: str) -> tuple[str, ...]:
    words = split_words(fold(keyword))
    if not words or "".join(words) != "".join(fold(keyword).split()):
        raise ValueError(
            f"keywords must be made of words and spaces alone, received {keyword!r}: "
            f"for other characters use RegexFormat"
        )
    return tuple(words)


def _count_occurrences(keyword: tuple[str, ...], words: list[str]) -> int:
    starts = range(len(words) - len(keyword) + 1)
    return sum(tuple(words[start : start + len(keyword)]) == keyword for start in starts)
