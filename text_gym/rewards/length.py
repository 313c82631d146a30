"""A target length as a reward. It knows how long a completion is, not what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.words import count_words

LengthUnit = Literal["tokens", "words", "characters"]


@dataclass(frozen=True)
class Length:
    """Rewards a completion with minus its distance from a target length, in units.

    Tokens are the actions of the episode, EOS included; words are those of `count_words`;
    characters are Unicode code points, as in `len(completion)`, so a letter with a separate
    combining mark is two.

    Args:
        target: The length that earns 0, the highest reward; 0 or more.
        unit: `"tokens"`, `"words"` or `"characters"`.

    Raises:
        ValueError: If `target` is not an integer of at least 0, or `unit` is another word.

    Example:
        >>> episodes = [Episode.from_text("Hi", "one two"), Episode.from_text("Hi", "a b c d e")]
        >>> Length(3, unit="words")(episodes)
        array([-1., -2.])
    """

    target: int
    unit: LengthUnit = "tokens"

    def __post_init__(self) -> None:
        if not isinstance(self.target, int) or isinstance(self.target, bool) or self.target < 0:
            raise ValueError(f"target must be an integer of at least 0, received {self.target!r}")
        if self.unit not in get_args(LengthUnit):
            raise ValueError(f"unit must be one of {get_args(LengthUnit)}, received {self.unit!r}")

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns minus the distances from the target, shape (n,)."""
        rewards = [-abs(self._length(episode) - self.target) for episode in episodes]
        return np.array(rewards, dtype=np.float64)

    def _length(self, episode: Episode) -> int:
        if self.unit == "tokens":
            return len(episode.completion_ids)
        return count_words(episode.completion) if self.unit == "words" else len(episode.completion)
