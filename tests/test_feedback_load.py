"""Many people at a served study at once: nothing is lost, doubled or held twice, killed or not."""

from __future__ import annotations

import argparse

import pytest

from benchmarks.feedback_load import Told, measure, wrongs
from text_gym.feedback import Judgement, Preferred


def judged(name: str, item: str) -> Judgement:
    return Judgement(name, "ann", item, (0, 1), Preferred(0), 0.0, 1.0, 1)


def test_what_is_wrong_is_counted() -> None:
    told = Told(
        acknowledged=["j1", "j2", "j4"], leases=[("j1", 0), ("j1", 0), ("j2", 0), ("j2", 1)]
    )
    kept = [judged("j1", "sky"), judged("j2", "sea"), judged("j3", "sea")]
    assert wrongs(kept, told) == {"lost": 1, "doubled": 1, "leases held twice": 1}


def test_what_is_right_is_nothing_wrong() -> None:
    told = Told(acknowledged=["j1", "j2"], leases=[("j1", 0), ("j2", 1), ("j2", 1)])
    kept = [judged("j1", "sky"), judged("j2", "sea")]
    assert set(wrongs(kept, told).values()) == {0}


@pytest.mark.slow
def test_a_server_that_is_killed_loses_and_doubles_nothing() -> None:
    options = argparse.Namespace(people=8, seconds=6.0, think=0.1)
    found = {one.name.removeprefix("2 kills: "): one.value for one in measure(options, kills=2)}
    assert found["judgements"] > 0
    assert found["sent again"] > 0
    for wrong in ("faults", "lost", "doubled", "leases held twice"):
        assert found[wrong] == 0
