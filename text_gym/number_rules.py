"""Rules for numbers among arguments: counts of things, and finite weights.

Knows nothing of what is counted or weighed.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from text_gym.quoting import quoted


def require_count(number: Any, argument: str) -> None:
    """Raises TypeError for what is no integer (True is none), ValueError for one below 1.

    Args:
        number: Anything; integers of numpy are integers.
        argument: Its name, for the message.
    """
    _require_kind(number, Integral, argument, "an integer")
    if number < 1:
        raise ValueError(f"{argument} must be at least 1, got {number}")


def require_finite(number: Any, argument: str) -> None:
    """Raises TypeError for what is no real number (True is none), ValueError for NaN and infinity.

    Args:
        number: Anything; numbers of numpy are numbers.
        argument: Its name, for the message.
    """
    _require_kind(number, Real, argument, "a number")
    if not math.isfinite(number):
        raise ValueError(f"{argument} must be finite, got {number}")


def _require_kind(number: Any, kind: type, argument: str, rule: str) -> None:
    if not isinstance(number, kind) or isinstance(number, bool):
        raise TypeError(f"{argument} must be {rule}, got {quoted(number)}")
