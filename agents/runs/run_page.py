"""A run's page: curves, newest texts and diagnostics while it learns, what came of it afterwards.

`index.html` in the run's folder needs nothing else, and loads itself anew until the run has ended.
Reads what `RunFolder` has written; does not know what is learnt.
"""

from __future__ import annotations

import json
import math
import time
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.agent import Agent
from agents.callbacks import Callback
from agents.reports import Curves, Facts, Figure, Section, Series, SideBySide, Table, Written
from agents.reports.json_file import write_whole
from agents.reports.report import report_html
from agents.reports.tables import Cell
from agents.runs.page_views import WRITING, Curve, Diagnostic, View
from agents.runs.run_folder import RunFolder

PAGE = "index.html"
SECONDS = 5
"""At least so long from one writing of the page to the next; it is loaded anew as often."""
_TEXTS = 4
_POINTS = 500
"""Of a line, at most: what a page can show."""

Row = Mapping[str, float]


class RunPage(Callback):
    """Keeps the page of a run current.

    Args:
        record: Of the run.
        title: Of the page.
        about: What the run was asked, by name.
        view: What is drawn of its updates.
        show: Whether a browser opens it as training begins.
    """

    def __init__(
        self,
        record: RunFolder,
        title: str,
        about: Mapping[str, object],
        *,
        view: View = WRITING,
        show: bool = False,
    ) -> None:
        self._record = record
        self._view, self._show = view, show
        self._title = title
        self._about = {name: str(value) for name, value in about.items()}
        self._written = -math.inf

    @property
    def path(self) -> Path:
        """Where the page is."""
        return self._record.folder / PAGE

    def on_training_start(self, agent: Agent, total_episodes: int) -> None:
        """Writes the page, of which little more is known than what was asked."""
        self._write(self._learning(), refresh=SECONDS)
        if self._show:
            webbrowser.open(self.path.resolve().as_uri())

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Writes the page, if it is old."""
        if time.monotonic() - self._written >= SECONDS:
            self._write(self._learning(), refresh=SECONDS)
        return True

    def on_training_end(self, agent: Agent) -> None:
        """Writes the page of a run that is evaluated next, if anybody does; see `finish`."""
        self._write(self._learning(), refresh=SECONDS)

    def finish(self, sections: Sequence[Section]) -> None:
        """Writes the page of a run that has ended; what came of it stands first."""
        self._write([*sections, *self._learning()])

    def _write(self, sections: Sequence[Section], refresh: int | None = None) -> None:
        asked = Section("What was asked", [Facts(list(self._about.items()))])
        write_whole(self.path, report_html(self._title, [*sections, asked], refresh=refresh))
        self._written = time.monotonic()

    def _learning(self) -> list[Section]:
        history = self._record.history
        if not history:
            return []
        view, samples = self._view, self._record.folder / "samples.jsonl"
        curves = [one for curve in view.curves if (one := _curves(history, curve, view))]
        sections = [
            Section("How it goes", curves),
            Section("Is it well?", [_diagnosed(history, view.diagnostics)]),
        ]
        return sections + ([Section("Newest texts", [_texts(samples)])] if samples.exists() else [])


def _curves(history: Sequence[Row], curve: Curve, view: View) -> Curves | None:
    """Returns a plot, or None where nothing of it was measured."""
    lines, now = [], []
    for metric, name in curve.lines.items():
        rows = [row for row in history if metric in row and view.x in row]
        if rows:
            x, y = rows[-1][view.x], rows[-1][metric]
            now.append(f"{name} {y:.3f} after {x:,.7g} {view.x_label}")
            shown = _thinned(rows)
            lines.append(
                Series(name, [row[view.x] for row in shown], [row[metric] for row in shown])
            )
    if not lines:
        return None
    told = f"Now {', '.join(now)}."
    return Curves(curve.title, view.x_label, curve.label, lines, told)


def _thinned(rows: Sequence[Row]) -> list[Row]:
    """Returns at most `_POINTS` of the rows and, in any case, the last."""
    step = -(-len(rows) // _POINTS)
    return [*rows[:-1:step], rows[-1]]


def _diagnosed(history: Sequence[Row], diagnostics: Sequence[Diagnostic]) -> Table:
    rows: list[list[Cell]] = []
    for one in diagnostics:
        value = next((row[one.name] for row in reversed(history) if one.name in row), None)
        if value is not None:
            verdict = "" if one.holds is None else "well" if one.holds(value) else "look"
            rows.append([one.label, Figure(value, 4), verdict, one.healthy])
    return Table(["when last measured", "now", "", "healthy"], rows)


def _texts(path: Path) -> SideBySide:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TEXTS:]
    rows = [json.loads(line) for line in lines]
    written = [
        [Written(f"after {row['episodes']:,} episodes", row["completion"], _worth(row["score"]))]
        for row in rows
    ]
    return SideBySide([row["prompt"] for row in rows], written)


def _worth(score: float | None) -> Figure:
    return Figure(math.nan if score is None else score, 3)
