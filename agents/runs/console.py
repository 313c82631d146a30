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
from agents.evaluation.evaluate import Evaluation, paired_gain

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
        console: Where to.
        figures: Names of metrics, by what they are called here.
    """

    def __init__(self, console: Console, figures: Mapping[str, str] = _FIGURES) -> None:
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


def before_and_after(
    before: Mapping[str, float], after: Mapping[str, float], judged_as: str
) -> Table:
    """Returns the same figures before and after, side by side.

    Args:
        before: Of the policy that training started from, by the names of metrics.
        after: Of the policy that it ended with.
        judged_as: What it was judged on.
    """
    table = Table(title=judged_as, title_justify="left", title_style="bold", box=None)
    for heading in ("", "before", "after"):
        table.add_column(heading, justify="left" if not heading else "right", overflow="fold")
    for name in before:
        values = (f"{one[name]:.4f}" for one in (before, after))
        table.add_row(name.removeprefix("eval/"), *values)
    return table


def evaluations(
    before: Evaluation, after: Evaluation, title: str, *, averaged: Evaluation | None = None
) -> Table:
    """Returns the figures before and after, side by side.

    Args:
        before: Of the policy that training started from.
        after: Of the policy that it ended with.
        title: Names the prompts.
        averaged: Of the averaged policy, if there is one.
    """
    judged = {"before": before, "after": after} | ({"averaged": averaged} if averaged else {})
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    for heading in ("", *judged):
        table.add_column(heading, justify="left" if not heading else "right", overflow="fold")
    for name, label, digits in (
        ("reward", "reward", 3),
        ("reward_half_width", "  +/- (95 %)", 3),
        ("kl", "KL (nats per reply)", 2),
        ("length", "tokens per reply", 1),
        ("perplexity", "perplexity under the reference", 1),
        ("distinct_2", "distinct-2", 3),
        ("largest_share", "share of the commonest reply", 3),
    ):
        table.add_row(label, *(f"{getattr(one, name):.{digits}f}" for one in judged.values()))
    gains = [paired_gain(before, one) for one in list(judged.values())[1:]]
    intervals = (f"{gain.mean:+.3f} +/- {gain.half_width:.3f}" for gain in gains)
    table.add_row("gain, prompt by prompt (95 %)", "", *intervals)
    return table


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
