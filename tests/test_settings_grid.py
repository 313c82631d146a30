"""The search for the settings of the benchmark of efficiency."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks import contestants, settings_grid
from benchmarks.cells import Cells
from benchmarks.contestants import OURS, SB3, SB3_TRANSFORMER, trl_learners
from benchmarks.figures import RESULTS
from benchmarks.settings_grid import GRIDS, found_of, name_of, settings_of, tried


class Fake(NamedTuple):
    """Needs as many texts as its rate says; with a rate of 0 it never comes so far."""

    name: str = "fake"
    rate: int = 1
    last: float = 0.5

    def plain(self) -> dict[str, Any]:
        return self._asdict()

    def but(self, **settings: Any) -> Fake:
        return self._replace(**settings)

    def run(self, toy: str, seed: int, budget: int) -> dict[str, Any]:
        reached = {"0.95": [self.rate, 1.0]} if self.rate else {}
        return {"reached": reached, "last": self.last}


def test_a_grid_is_every_value_with_every_other() -> None:
    assert settings_of({"a": (1, 2), "b": (3, 4)}) == [
        {"a": 1, "b": 3},
        {"a": 1, "b": 4},
        {"a": 2, "b": 3},
        {"a": 2, "b": 4},
    ]


def test_a_run_that_did_not_come_so_far_counts_as_its_budget() -> None:
    runs = [{"reached": {"0.95": [300, 1.0]}, "last": 1.0}, {"reached": {}, "last": 0.75}]
    assert found_of(runs, {}, budget=1000) == (1300, 0.25, {})


def test_the_setting_that_needs_fewest_texts_is_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings_grid.GRIDS, "fake", {"rate": (0, 700, 300), "last": (0.5, 0.9)})  # type: ignore[arg-type]
    cells = Cells(tmp_path / "cells.jsonl")
    found = tried(Fake(), cells, 1000, seed=100, end=float("inf"))
    assert [one.setting for one in found[:2]] == [
        {"rate": 300, "last": 0.9},
        {"rate": 300, "last": 0.5},
    ]
    assert found[-1].setting == {"rate": 0, "last": 0.5}
    # When time is up, what was run is known and nothing is run.
    monkeypatch.setitem(settings_grid.GRIDS, "fake", {"rate": (300, 500), "last": (0.5,)})  # type: ignore[arg-type]
    [one] = tried(Fake(), cells, 1000, seed=100, end=0.0)
    assert one.setting["rate"] == 300


@pytest.mark.parametrize(
    "contestant",
    [*OURS, *SB3, SB3_TRANSFORMER, *trl_learners(Path(), Path())],
    ids=lambda one: one.name,
)
def test_whoever_was_searched_for_has_the_best_of_its_grid(contestant: Any) -> None:
    if contestant.name not in GRIDS:
        assert contestant in (contestants.FASTEST, SB3[-1])
        return
    settings = settings_of(GRIDS[contestant.name])
    [own] = [one for one in settings if contestant.but(**one).plain() == contestant.plain()]
    result = json.loads((RESULTS / "settings_grid.json").read_text(encoding="utf-8"))
    names = [one["name"] for one in result["figures"]]
    best = [name for name in names if name.startswith(f"{contestant.name}: ")][:1]
    if not best:
        pytest.skip("no run of its grid is kept yet")
    assert best == [name_of(contestant.name, own)]


def test_a_round_is_run_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_grid, "BUDGET", (0, 256))
    monkeypatch.setattr(settings_grid, "TIMED", ("WordCount",))
    monkeypatch.setattr(settings_grid, "contestants_of", lambda _: [contestants.OURS[0]])
    monkeypatch.setitem(
        settings_grid.GRIDS,
        contestants.OURS[0].name,
        {"learning_rate": (1e-3, 3e-3)},  # type: ignore[arg-type]
    )
    monkeypatch.setattr(sys, "argv", ["settings_grid.py", "--quick", "--output", str(tmp_path)])
    settings_grid.main()
    result = json.loads((tmp_path / "settings_grid.json").read_text(encoding="utf-8"))
    assert len(result["figures"]) == 2
