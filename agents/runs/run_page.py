"""A run's page: curves, newest texts and diagnostics while it learns, what came of it afterwards.

`index.html` in the run's folder needs nothing else, and loads itself anew until training has ended.
Reads what `RunFolder` has written; does not know what is learnt.
"""

from __future__ import annotations

import json
import math
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agents.agent import Agent
from agents.callbacks import Callback
from agents.evaluation.metrics import METRICS, Evaluation
from agents.reports import Curves, Facts, Figure, Section, Series, SideBySide, Table, Written
from agents.reports.json_file import write_whole
from agents.reports.report import report_html
from agents.reports.tables import Cell
from agents.runs.run_folder import RunFolder

PAGE = "index.html"
SECONDS = 5
"""At least so long from one writing of the page to the next; it is loaded anew as often."""
_TEXTS = 4
_REPLIES = 10


class Diagnostic(NamedTuple):
    """Says what a figure of an update should be.

    Attributes:
        name: In the metrics.
        label: For people.
        healthy: A sentence.
        holds: Whether a value is as it should be; None: only a person can tell.
    """

    name: str
    label: str
    healthy: str
    holds: Callable[[float], bool] | None = None


DIAGNOSTICS = (
    Diagnostic(
        "train/first_ratio_error",
        "first ratio, distance from 1",
        "Rounding: below 0.00001, in bfloat16 below 0.1. Beyond it, the run stops by itself.",
    ),
    Diagnostic(
        "rollout/score_std",
        "spread of rewards",
        "Above 0: where all texts are paid alike, there is nothing to learn.",
        lambda value: value > 0,
    ),
    Diagnostic(
        "rollout/kl",
        "KL from the reference, nats per text",
        "Grows while the reward does. Where it grows alone, raise kl_coef or lower learning_rate.",
    ),
    Diagnostic(
        "rollout/entropy",
        "entropy, nats per token",
        "Falls slowly. Near 0 the policy says one thing only: raise ent_coef or kl_coef.",
        lambda value: value > 0.05,
    ),
    Diagnostic(
        "train/approx_kl",
        "KL of one update",
        "Below about 0.05; beyond, lower learning_rate or n_epochs.",
        lambda value: value < 0.05,
    ),
    Diagnostic(
        "train/clip_fraction",
        "share of clipped tokens",
        "Below about 0.3; beyond, most of what is sampled is not learnt from.",
        lambda value: value < 0.3,
    ),
    Diagnostic(
        "train/explained_variance",
        "variance of returns that values explain",
        "Rises towards 1 in the first updates. Where it stays below 0, take gae_lambda=1.",
    ),
    Diagnostic(
        "rollout/stop_length",
        "share of texts cut at the limit",
        "Small, where texts are meant to end by themselves; else raise max_new_tokens.",
    ),
)
CURVES = {
    "rollout/score_mean": ("Reward", "mean reward of a batch"),
    "rollout/kl": ("Distance", "KL from the reference, nats per text"),
    "rollout/entropy": ("Entropy", "entropy, nats per token"),
    "rollout/length_mean": ("Length", "tokens per text"),
}
"""What is drawn against episodes, by its name in the metrics: title, and what it is."""


class RunPage(Callback):
    """Keeps the page of a run current.

    Args:
        record: Of the run.
        title: Of the page.
        about: What the run was asked, by name.
        show: Whether a browser opens it as training begins.
    """

    def __init__(
        self, record: RunFolder, title: str, about: Mapping[str, object], *, show: bool = False
    ) -> None:
        self._record = record
        self._show = show
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

    def finish(self, before: Evaluation, after: Evaluation, evaluated_on: str) -> None:
        """Writes the page of a run that has been evaluated, on the prompts that are called so."""
        gained = _gained(before, after, evaluated_on)
        sections = [Section("What came of it", [gained, _replies(before, after)])]
        self._write(sections + self._learning())

    def _write(self, sections: Sequence[Section], refresh: int | None = None) -> None:
        asked = Section("What was asked", [Facts(list(self._about.items()))])
        write_whole(self.path, report_html(self._title, [*sections, asked], refresh=refresh))
        self._written = time.monotonic()

    def _learning(self) -> list[Section]:
        history = self._record.history
        if not history:
            return []
        curves = [one for name in CURVES if (one := _curves(history, name)) is not None]
        return [
            Section("How it goes", curves),
            Section("Is it well?", [_diagnosed(history[-1])]),
            Section("Newest texts", [_texts(self._record.folder / "samples.jsonl")]),
        ]


def _curves(history: Sequence[Mapping[str, float]], name: str) -> Curves | None:
    rows = [row for row in history if name in row]
    if not rows:
        return None
    title, label = CURVES[name]
    line = Series(title, [row["episodes"] for row in rows], [row[name] for row in rows])
    last = f"Now {rows[-1][name]:.3f}, after {rows[-1]['episodes']:,} episodes."
    return Curves(title, "episodes", label, [line], last)


def _diagnosed(row: Mapping[str, float]) -> Table:
    rows: list[list[Cell]] = []
    for one in DIAGNOSTICS:
        if one.name in row:
            value = row[one.name]
            verdict = "" if one.holds is None else "well" if one.holds(value) else "look"
            rows.append([one.label, Figure(value, 4), verdict, one.healthy])
    return Table(["of the last update", "now", "", "healthy"], rows)


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


def _gained(before: Evaluation, after: Evaluation, evaluated_on: str) -> Table:
    names = [name for name in METRICS if name in before.figures and name in after.figures]
    rows: list[list[Cell]] = [
        [METRICS[name].label, *(_figure(one.figures, name) for one in (before, after))]
        for name in names
    ]
    return Table([evaluated_on, "before", "after"], rows, "Half-widths are of 95 %.")


def _figure(figures: Mapping[str, float], name: str) -> Figure:
    return Figure(figures[name], METRICS[name].digits, figures.get(f"{name}_half_width"))


def _replies(before: Evaluation, after: Evaluation) -> SideBySide:
    rows = range(min(_REPLIES, len(before.prompts)))
    written = [
        [
            Written(when, one.completions[row], Figure(one.scores[row], 3))
            for when, one in (("before", before), ("after", after))
        ]
        for row in rows
    ]
    return SideBySide([before.prompts[row] for row in rows], written)
