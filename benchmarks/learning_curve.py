"""How soon a learner writes well: the texts and the seconds after which it does.

A learner is where it should be once the mean score of its last 256 texts is: those that it learns
from, sampled as it samples them. Knows neither tasks nor learners, and imports nothing, so that it
serves other interpreters too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from time import process_time
from typing import NamedTuple

WINDOW = 256
SHARES = (0.5, 0.8, 0.95, 0.99)
"""Of the optimum, which is 1."""


class Reached(NamedTuple):
    """Holds what a learner needed, as it began.

    Attributes:
        episodes: Texts written.
        seconds: Of the processor.
    """

    episodes: int
    seconds: float


class LearningCurve:
    """Takes the scores of texts as they are finished, and notes when each of `SHARES` is reached.

    Args:
        budget: Texts after which the learner need not go on.
        clock: Returns seconds.

    Attributes:
        episodes: Texts so far.
        reached: By share of the optimum; those that were not are missing.

    Example:
        >>> curve = LearningCurve(budget=2000, clock=lambda: 0.0)
        >>> curve.add([0.0] * 100 + [1.0] * 300)
        >>> curve.reached[0.5].episodes, curve.is_done
        (256, True)
    """

    def __init__(self, budget: int, clock: Callable[[], float] = process_time) -> None:
        self.budget = budget
        self.episodes = 0
        self.reached: dict[float, Reached] = {}
        self._clock = clock
        self._last: deque[float] = deque(maxlen=WINDOW)
        self.start()

    def start(self) -> None:
        """Lets seconds count from now."""
        self._start = self._clock()

    def add(self, scores: Iterable[float]) -> None:
        """Goes on by texts that were finished now."""
        seconds = self.seconds
        for score in scores:
            self._last.append(score)
            self.episodes += 1
            if len(self._last) == WINDOW:
                self._note(Reached(self.episodes, seconds))

    @property
    def seconds(self) -> float:
        """Since the curve began."""
        return self._clock() - self._start

    @property
    def is_done(self) -> bool:
        """Whether all is reached, or the budget is used up."""
        return len(self.reached) == len(SHARES) or self.episodes >= self.budget

    def found(self) -> dict[str, object]:
        """Returns the curve in plain values, for `benchmarks.cells`."""
        return {
            "reached": {str(share): list(one) for share, one in self.reached.items()},
            "episodes": self.episodes,
            "seconds": round(self.seconds, 3),
            "last": round(self._mean(), 4),
        }

    def _note(self, now: Reached) -> None:
        mean = self._mean()
        for share in SHARES:
            if mean >= share:
                self.reached.setdefault(share, now)

    def _mean(self) -> float:
        return sum(self._last) / max(1, len(self._last))
