"""Schedules: where they start, where they end, and what happens past the end."""

from __future__ import annotations

import pytest

from agents.objectives.schedules import SCHEDULES, constant_schedule, linear_schedule


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_starts_at_one(name: str) -> None:
    assert SCHEDULES[name](1.0) == 1.0


def test_constant_schedule_stays() -> None:
    assert [constant_schedule(p) for p in (1.0, 0.5, 0.0)] == [1.0, 1.0, 1.0]


def test_linear_schedule_falls_to_zero_and_never_below() -> None:
    assert [linear_schedule(p) for p in (1.0, 0.75, 0.0, -0.1)] == [1.0, 0.75, 0.0, 0.0]


def test_schedules_are_found_by_name() -> None:
    assert SCHEDULES["constant"] is constant_schedule
    assert SCHEDULES["linear"] is linear_schedule
