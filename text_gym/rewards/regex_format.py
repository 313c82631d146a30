"""A required format as a reward. It knows the shape of a completion, not what it means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode


@dataclass(frozen=True)
class RegexFormat:
    r"""Rewards a completion with 1 if the whole of it matches a pattern, else 0.

    The completion is matched as it stands: allow for the space or line break that it may start or
    end with. Avoid nested repetition such as `(a+)+`, on which the time to match explodes.

    Args:
        pattern: A regular expression of Python's `re`, for `fullmatch`.
        flags: Flags of `re`, such as `re.DOTALL | re.IGNORECASE`.

    Raises:
        ValueError: If `pattern` with `flags` does not compile.

    Example:
        >>> answer = RegexFormat(r"\s*<answer>\d+</answer>\s*")
        >>> answer([Episode.from_text("2+2", " <answer>4</answer>"), Episode.from_text("2+2", "4")])
        array([1., 0.])
    """

    pattern: str
    flags: int = 0

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern, self.flags)
        except (re.error, ValueError) as error:
            raise ValueError(
                f"pattern must be a regular expression, received {self.pattern!r} "
                f"with flags={self.flags!r}: {error}"
            ) from error

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns 1 or 0 for each episode, shape (n,)."""
        pattern = re.compile(self.pattern, self.flags)
        matches = [pattern.fullmatch(episode.completion) is not None for episode in episodes]
        return np.array(matches, dtype=np.float64)
