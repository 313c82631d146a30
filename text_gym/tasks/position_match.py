"""How much of an expected answer was written: the reward of tasks with one right completion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode


@dataclass(frozen=True)
class PositionMatch:
    """Rewards the share of positions at which completion and reference have the same character.

    Positions are counted to the end of the longer of the two, so that 1 is the reward of the
    reference alone, and writing too much costs something.

    Example:
        >>> texts = ["abcd", "abxd", "ab", "abcdabcd"]
        >>> episodes = [Episode.from_text("", text, reference="abcd") for text in texts]
        >>> PositionMatch()(episodes)
        array([1.  , 0.75, 0.5 , 0.5 ])
    """

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the shares, shape (n,)."""
        return np.array([_share(episode.completion, episode.reference) for episode in episodes])


def _share(completion: str, reference: str | None) -> float:
    if not reference:
        raise ValueError(f"reference must be a text with something in it, got {reference!r}")
    matches = sum(a == b for a, b in zip(completion, reference, strict=False))
    return matches / max(len(completion), len(reference))
