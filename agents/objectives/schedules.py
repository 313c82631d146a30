"""Schedules: what a learning rate or a clip range is multiplied by as training goes on.

A schedule is a function of the progress remaining, which goes from 1 at the start to 0 at the end
(the convention of Stable-Baselines3). It does not know what it multiplies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

Schedule: TypeAlias = Callable[[float], float]


def constant_schedule(progress_remaining: float) -> float:  # noqa: ARG001 - as every schedule
    """Return 1, however much remains.

    Example:
        >>> constant_schedule(0.25)
        1.0
    """
    return 1.0


def linear_schedule(progress_remaining: float) -> float:
    """Fall from 1 at the start to 0 at the end, and stay there should a run overshoot its end.

    Example:
        >>> linear_schedule(0.25)
        0.25
    """
    return max(0.0, progress_remaining)


SCHEDULES: Mapping[str, Schedule] = {
    "constant": constant_schedule,
    "linear": linear_schedule,
}
