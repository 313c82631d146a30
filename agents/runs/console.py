"""What a person sees while a run goes on: a header, a progress bar, replies before and after.

Prompts, replies, names and paths are data: nothing in them is markup, and control characters are
shown as escapes. Signs are ASCII, which every terminal has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agents.agent import Agent
from agents.callbacks import Callback
from agents.evaluation.metrics import METRICS, Evaluation, not_measured, paired_gains

_REPLIES = "Replies to the same prompts"
_FIGURES = {"reward": "rollout/score_mean", "KL": "rollout/kl"}
_SIDE_BY_SIDE = 60
"""Columns of a terminal from which on three texts have room beside one another."""


def run_console(*, quiet: bool = False) -> Console:
    """Returns a console that shows strings as they are."""
    return Console(quiet=quiet, markup=False, emoji=False)


class ProgressBar(Callback):
    """Shows episodes, figures and tokens per second as training goes on.

    Args:
        console: Where to; None: the terminal.
        figures: Names of metrics, by what they are called here.
    """

    def __init__(
        self, console: Console | None = None, figures: Mapping[str, str] = _FIGURES
    ) -> None:
        self._figures = {**figures, "speed": "time/tokens_per_second"}
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            *(TextColumn(f"{name} {{task.fields[{name}]:.3f}}") for name in figures),
            TextColumn("{task.fields[speed]:,.0f} tokens/s"),
            TimeRemainingColumn(),
            console=console,
        )
        nothing = dict.fromkeys(self._figures, 0.0)
        self._task = self._progress.add_task("", start=False, **nothing)  # type: ignore[arg-type]

    def on_training_start(self, agent: Agent, total_episodes: int) -> None:
        """Shows the empty bar."""
        self._progress.start()
        self._progress.start_task(self._task)
        self._progress.update(self._task, total=total_episodes, completed=agent.n_episodes)

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Moves the bar."""
        figures = {name: metrics[metric] for name, metric in self._figures.items()}
        self._progress.update(self._task, completed=agent.n_episodes, **figures)  # type: ignore[arg-type]
        return True

    def on_training_end(self, agent: Agent) -> None:
        """Leaves the bar as it stands."""
        self.close()

    def close(self) -> None:
        """Leaves the bar as it stands, where training did not come to its end either."""
        self._progress.stop()


def key_values(title: str, values: Mapping[str, Any]) -> Table:
    """Returns a plain two-column listing."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, show_header=False
    )
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(name, printable(str(value)))
    return table


def side_by_side(title: str, rows: Mapping[str, Mapping[str, str]]) -> Table:
    """Returns figures of several policies, a column for each.

    Args:
        title: Says what they were evaluated on.
        rows: The cells by column, by what the figure is called; a cell may be missing.
    """
    headings = dict.fromkeys(heading for cells in rows.values() for heading in cells)
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    table.add_column("", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    for label, cells in rows.items():
        table.add_row(label, *(cells.get(heading, "") for heading in headings))
    return table


def evaluations(evaluated: Mapping[str, Evaluation], title: str) -> Table:
    """Returns the figures of several policies, and what each gained on the first.

    Args:
        evaluated: By what the policies are called; the first is the one that training started from.
        title: Names the prompts.
    """
    rows = {
        metric.label: {
            heading: interval_cell(one.figures, name, metric.digits)
            for heading, one in evaluated.items()
            if name in one.figures
        }
        for name, metric in METRICS.items()
    }
    first = next(iter(evaluated))
    for name, reason in not_measured(evaluated.values()).items():
        rows[METRICS[name].label] = {first: reason}
    before, *_ = evaluated.values()
    for heading, one in list(evaluated.items())[1:]:
        for name, gain in paired_gains(before, one).items():
            cell = f"{gain.mean:+.3f} +/- {gain.half_width:.3f}"
            rows.setdefault(f"paired gain, {name}", {})[heading] = cell
    return side_by_side(f"{title} (+/-: 95 %)", {label: row for label, row in rows.items() if row})


def interval_cell(figures: Mapping[str, float], name: str, digits: int) -> str:
    """Returns a figure, with half of its interval where it has one."""
    half_width = figures.get(f"{name}_half_width")
    interval = "" if half_width is None else f" +/- {half_width:.{digits}f}"
    return f"{figures[name]:.{digits}f}{interval}"


def replies(before: Evaluation, after: Evaluation, *, width: int, n: int = 10) -> Table:
    """Returns the replies to the same prompts, before and after.

    Args:
        before: Of the policy that training started from.
        after: Of the policy that it ended with.
        width: Of the terminal, in columns; a narrow one gets one text below the other.
        n: Prompts to show.
    """
    rows = [
        (
            printable(before.prompts[row]),
            printable(before.completions[row]),
            printable(after.completions[row]),
            f"{before.scores[row]:.2f} -> {after.scores[row]:.2f}",
        )
        for row in range(min(n, len(before.prompts)))
    ]
    made = _side_by_side if width >= _SIDE_BY_SIDE else _one_below_the_other
    return made(("prompt", "before", "after", "reward"), rows)


def printable(text: str) -> str:
    """Returns text for the terminal: control characters as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _side_by_side(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=_REPLIES, title_justify="left", title_style="bold")
    for heading in headings[:-1]:
        table.add_column(heading, ratio=1)
    table.add_column(headings[-1], justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _one_below_the_other(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=_REPLIES, title_justify="left", title_style="bold", show_header=False)
    table.box = None
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for row in rows:
        for heading, cell in zip(headings, row, strict=True):
            table.add_row(heading, cell)
        table.add_row()
    return table
