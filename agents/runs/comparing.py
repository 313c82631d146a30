"""Runs beside one another: what was asked, what came of it, and how it went.

Reads the files of runs, finished or not. Models are compared by `agents.runs.evaluating`, which
lets them write; here nobody writes anything.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agents.applications.fine_tuning import SAYS_NOTHING
from agents.evaluation.metrics import METRICS
from agents.reports import Curves, Figure, Section, Series, Table, write_report
from agents.reports.tables import Cell
from agents.runs.comparing_options import Comparing
from agents.runs.console import interval_cell, printable, run_console, side_by_side
from agents.runs.page_views import CURVES

_SPENT = {"episodes": 0, "tokens": 0, "seconds": 1}
"""What training took, in `summary.json`, with the decimals to show."""


class _Ran(NamedTuple):
    """What a run has written.

    Attributes:
        options: By name, those of parts as `part.name`.
        history: The metrics of each update.
        summary: Its figures; empty until it is finished.
    """

    options: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]


def run(config: Comparing) -> Path:
    """Compares runs and returns the path of the page.

    Raises:
        FileNotFoundError: If a folder holds no run.
        ValueError: If no run is named, or one twice.
    """
    found = {name: _read(folder) for name, folder in _named(config.runs).items()}
    console = run_console()
    cells = {
        METRICS[metric].label: {name: _cell(one, metric) for name, one in found.items()}
        for metric in METRICS
        if any(f"{metric}_after" in one.summary for one in found.values())
    }
    spent = {key: {name: _spent(one, key) for name, one in found.items()} for key in _SPENT}
    console.print(side_by_side("Runs, as they ended (+/-: 95 %)", {**cells, **spent}))
    figures = {name: dict(one.summary) for name, one in found.items()}
    page = write_report(config.output, "Runs beside one another", _sections(found), figures)
    console.print(f"Written to {printable(str(page))}")
    return page


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    """Returns the runs by the names of their folders, or where those are equal by their paths."""
    if not folders:
        raise ValueError("runs must be named, got none")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError(f"runs must be different, got {[str(folder) for folder in folders]}")
    names = [folder.resolve().name for folder in folders]
    distinct = len(set(names)) == len(names)
    return dict(zip(names if distinct else map(str, folders), folders, strict=True))


def _read(folder: Path) -> _Ran:
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"the folder of a run must hold config.json, got {folder}")
    metrics, summary = folder / "metrics.jsonl", folder / "summary.json"
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
    return _Ran(
        _flat(json.loads((folder / "config.json").read_text(encoding="utf-8"))),
        [json.loads(line) for line in lines if line.endswith("}")],  # one may be half written
        json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {},
    )


def _flat(options: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= (
            _flat(value, f"{before}{name}.")
            if isinstance(value, dict)
            else {f"{before}{name}": value}
        )
    return flat


def _cell(one: _Ran, metric: str) -> str:
    after = {
        name: one.summary[f"{name}_after"]
        for name in (metric, f"{metric}_half_width")
        if one.summary.get(f"{name}_after") is not None
    }
    return interval_cell(after, metric, METRICS[metric].digits) if metric in after else ""


def _spent(one: _Ran, key: str) -> str:
    value = one.summary.get(key)
    return "not finished" if value is None else f"{value:,.{_SPENT[key]}f}"


def _sections(found: Mapping[str, _Ran]) -> list[Section]:
    curves = [_curves(found, metric) for metric in CURVES]
    drawn = [one for one in curves if one.series]
    sections = [Section("What came of it", [_ended(found)])]
    if drawn:
        sections.append(Section("How it went", drawn))
    differing = _differing(found)
    if differing:
        rows = [[option, *map(str, values)] for option, values in differing.items()]
        sections.append(Section("What was asked differently", [Table(["option", *found], rows)]))
    return sections


def _ended(found: Mapping[str, _Ran]) -> Table:
    """Returns a column for each run: who learns, its figures before and after, what it took."""
    rows: list[list[Cell]] = [["learner", *(str(one.options["learner"]) for one in found.values())]]
    for metric, when in itertools.product(METRICS, ("before", "after")):
        if any(f"{metric}_{when}" in one.summary for one in found.values()):
            figures = [_figure(one.summary, metric, when) for one in found.values()]
            rows.append([f"{METRICS[metric].label}, {when}", *figures])
    for key, digits in _SPENT.items():
        took = [one.summary.get(key) for one in found.values()]
        rows.append([key, *(None if n is None else Figure(float(n), digits) for n in took)])
    return Table(["", *found], rows, "Half-widths are of 95 %.")


def _figure(summary: Mapping[str, Any], metric: str, when: str) -> Cell:
    value = summary.get(f"{metric}_{when}")
    if value is None:
        return None
    half_width = summary.get(f"{metric}_half_width_{when}")
    return Figure(float(value), METRICS[metric].digits, half_width)


def _curves(found: Mapping[str, _Ran], metric: str) -> Curves:
    title, label = CURVES[metric]
    series = []
    for name, one in found.items():
        rows = [row for row in one.history if row.get(metric) is not None and "episodes" in row]
        if rows:
            episodes = [float(row["episodes"]) for row in rows]
            series.append(Series(name, episodes, [float(row[metric]) for row in rows]))
    return Curves(title, "episodes", label, series, f"Against episodes: {label}.")


def _differing(found: Mapping[str, _Ran]) -> dict[str, list[Any]]:
    """Returns the options in which runs differ, with the value of each; "" where one has none."""
    names = dict.fromkeys(option for one in found.values() for option in one.options)
    values = {name: [one.options.get(name, "") for one in found.values()] for name in names}
    return {
        name: said
        for name, said in values.items()
        if name not in SAYS_NOTHING and len(set(map(str, said))) > 1
    }
