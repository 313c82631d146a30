"""Gymnasium's limit on the steps of an episode, for the rows of a vector environment.

Knows how many steps each row has taken; nothing of texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from text_gym.number_rules import require_count


class StepLimit:
    """Counts the steps of each row, as `gymnasium.wrappers.TimeLimit` does.

    Args:
        n: Rows.
        max_episode_steps: The step that is an episode's last.

    Raises:
        ValueError: If that is not at least 1.

    Example:
        >>> limit = StepLimit(2, max_episode_steps=2)
        >>> limit.count([0, 1]), limit.start(1), limit.count([0, 1])
        (array([False, False]), None, array([ True, False]))
    """

    def __init__(self, n: int, max_episode_steps: int) -> None:
        require_count(max_episode_steps, "max_episode_steps")
        self._last = max_episode_steps
        self._taken = np.zeros(n, dtype=np.int64)

    def start(self, row: int, taken: int = 0) -> None:
        """Begins an episode, or goes on with one after so many steps."""
        self._taken[row] = taken

    def is_reached(self, row: int) -> bool:
        """Tells whether a row has taken its last step."""
        return bool(self._taken[row] >= self._last)

    def count(self, rows: Any) -> NDArray[np.bool_]:
        """Counts a step of each of `rows`, and returns in which rows it was the last, (n,)."""
        reached = np.zeros(len(self._taken), dtype=np.bool_)
        self._taken[rows] += 1
        reached[rows] = self._taken[rows] >= self._last
        return reached
