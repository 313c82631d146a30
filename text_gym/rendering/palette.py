"""The colours of numbers: orange below zero, blue above, pale near it.

One scale for rewards, log-probs, values and advantages alike: symmetric around 0, so that pale
means little whatever the quantity, and told apart by every common kind of colour blindness. Knows
nothing of tokens or of what the numbers mean.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

STEPS = 8
"""Shades on either side of zero, for pictures and pages."""

TERMINAL_TILES = (208, 215, 223, 255, 153, 111, 69)
"""Numbers in the 256-colour table, from lowest to highest: all of them carry black letters."""


def _shades(
    lowest: Colour, low: Colour, zero: Colour, high: Colour, highest: Colour
) -> list[Colour]:
    """Returns 2 * STEPS + 1 colours, evenly spaced along the five."""
    anchors = np.array([lowest, low, zero, high, highest])
    positions = np.linspace(0, 4, 2 * STEPS + 1)
    red, green, blue = (np.interp(positions, range(5), channel).round() for channel in anchors.T)
    return [(int(r), int(g), int(b)) for r, g, b in zip(red, green, blue, strict=True)]


LIGHT = _shades((230, 127, 18), (251, 200, 134), (240, 240, 238), (169, 206, 244), (84, 150, 222))
"""For black letters on a white page, from lowest to highest."""

DARK = _shades((172, 82, 4), (110, 68, 28), (46, 46, 51), (38, 74, 117), (42, 108, 182))
"""For white letters on a dark page, from lowest to highest."""


def reach(numbers: NDArray[np.float64], limit: float | None = None) -> float:
    """Returns where the scale ends: `limit`, or the largest finite magnitude (0 without any).

    Raises:
        ValueError: If `limit` is given and not a positive number.
    """
    if limit is not None:
        if not 0 < limit < math.inf:
            raise ValueError(f"limit must be positive and finite, got {limit}")
        return limit
    finite = np.abs(numbers[np.isfinite(numbers)])
    return float(finite.max(initial=0.0))


def step_of(number: float, limit: float, steps: int = STEPS) -> int | None:
    """Returns the shade of a number, from -steps to steps; None for NaN, which has no colour.

    Example:
        >>> [step_of(number, 2.0) for number in (-2.0, 0.0, 0.5, 9.0, math.nan)]
        [-8, 0, 2, 8, None]
    """
    if math.isnan(number):
        return None
    if limit == 0:
        return 0 if number == 0 else int(math.copysign(steps, number))
    return round(min(max(number / limit, -1.0), 1.0) * steps)


def signed(number: float) -> str:
    """Returns the number in three digits, with its sign; NaN, which says nothing, as a dash.

    Example:
        >>> [signed(number) for number in (0.25, -1.23456, 0.0, math.nan)]
        ['+0.25', '−1.23', '0', '–']
    """
    if math.isnan(number):
        return "–"
    return "0" if number == 0 else f"{number:+.3g}".replace("-", "−")
