"""What a person sees while a run goes on: a header, a progress bar, replies before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agents.agent import Agent
from agents.callbacks import Callback
from agents.evaluation.evaluate import Evaluation, paired_gain


class ProgressBar(Callback):
    """Shows episodes, reward, KL and tokens per second as training goes on."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("reward {task.fields[reward]:.3f}"),
            TextColumn("KL {task.fields[kl]:.2f}"),
            TextColumn("{task.fields[speed]:,.0f} tokens/s"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("", start=False, reward=0.0, kl=0.0, speed=0.0)

    def on_training_start(self, agent: Agent, total_episodes: int) -> None:
        """Shows the empty bar."""
        self._progress.start()
        self._progress.start_task(self._task)
        self._progress.update(self._task, total=total_episodes, completed=agent.n_episodes)

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Moves the bar."""
        self._progress.update(
            self._task,
            completed=agent.n_episodes,
            reward=metrics["rollout/score_mean"],
            kl=metrics["rollout/kl"],
            speed=metrics["time/tokens_per_second"],
        )
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
    for name, value in values.items():
        table.add_row(name, printable(str(value)))
    return table


def evaluations(before: Evaluation, after: Evaluation) -> Table:
    """Returns the figures before and after, side by side."""
    table = Table(title="Held-out prompts", title_justify="left", title_style="bold", box=None)
    for heading in ("", "before", "after"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, label, digits in (
        ("reward", "reward", 3),
        ("reward_half_width", "  ± (95 %)", 3),
        ("kl", "KL (nats per reply)", 2),
        ("length", "tokens per reply", 1),
        ("perplexity", "perplexity under the reference", 1),
        ("distinct_2", "distinct-2", 3),
        ("largest_share", "share of the commonest reply", 3),
    ):
        values = (f"{getattr(one, name):.{digits}f}" for one in (before, after))
        table.add_row(label, *values)
    gain = paired_gain(before, after)
    table.add_row("gain, prompt by prompt (95 %)", "", f"{gain.mean:+.3f} ± {gain.half_width:.3f}")
    return table


def replies(before: Evaluation, after: Evaluation, n: int = 10) -> Table:
    """Returns the replies to the same prompts, before and after."""
    table = Table(title="Replies to the same prompts", title_justify="left", title_style="bold")
    for heading in ("prompt", "before", "after"):
        table.add_column(heading, ratio=1)
    table.add_column("reward", justify="right", no_wrap=True)
    for row in range(min(n, len(before.prompts))):
        table.add_row(
            printable(before.prompts[row]),
            printable(before.completions[row]),
            printable(after.completions[row]),
            f"{before.scores[row]:.2f} → {after.scores[row]:.2f}",
        )
    return table


def printable(text: str) -> str:
    """Returns text for the terminal: no markup, and control characters as escapes."""
    return escape("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))
