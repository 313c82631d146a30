"""The expected answer as a reward. It knows equal texts, not texts of equal meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.quoting import quoted
from text_gym.words import fold


@dataclass(frozen=True)
class ExactMatch:
    """Rewards a completion with 1 if it equals the episode's reference, else 0.

    Args:
        normalise: Whether to ignore case, Unicode composition, white space at the ends and the
            amount of it between words. Punctuation always counts: "-5" and "5" differ, and so do
            "3.5" and "35". False compares character by character.

    Raises:
        ValueError: When called, if an episode has no reference.

    Example:
        >>> episode = Episode.from_text("Capital of France?", " paris", reference="Paris")
        >>> ExactMatch()([episode]), ExactMatch(normalise=False)([episode])
        (array([1.]), array([0.]))
    """

    normalise: bool = True

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns 1 or 0 for each episode, shape (n,)."""
        return np.array([self._is_match(episode) for episode in episodes], dtype=np.float64)

    def _is_match(self, episode: Episode) -> bool:
        if episode.reference is None:
            raise ValueError(
                f"reference must be given with every prompt that ExactMatch scores, "
                f"received None for the prompt {quoted(episode.prompt)}"
            )
        if self.normalise:
            return _normalised(episode.completion) == _normalised(episode.reference)
        return episode.completion == episode.reference


def _normalised(text: str) -> str:
    return " ".join(fold(text).split())
