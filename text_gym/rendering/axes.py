"""The axes of a plot: where a value lies, and at which round numbers it is read.

Knows nothing of what is drawn, nor with what.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple


class Axis(NamedTuple):
    """Holds what an axis is called and where it ends."""

    label: str
    low: float
    high: float

    def at(self, value: float) -> float:
        """Returns where a value lies, from 0 to 1.

        Example:
            >>> Axis("hours", 0, 4).at(1)
            0.25
        """
        span = self.high - self.low
        return 0.5 if span <= 0 else min(1.0, max(0.0, (value - self.low) / span))

    def ticks(self) -> Iterator[float]:
        """Yields three to six round numbers between the ends.

        Example:
            >>> list(Axis("hours", 0, 4).ticks())
            [0.0, 1.0, 2.0, 3.0, 4.0]
        """
        span = self.high - self.low
        if span <= 0:
            return
        rough = span / 5
        power = 10.0 ** math.floor(math.log10(rough))
        factors = (1, 2, 2.5, 5, 10)
        step = next(power * factor for factor in factors if power * factor >= rough * 0.999)
        value = math.ceil(self.low / step) * step
        while value <= self.high + step * 1e-6:
            yield round(value, 10)
            value += step
