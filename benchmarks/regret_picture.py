"""The picture of regret: where learners end on the exact frontier of reward and KL.

A panel for each reward, once on white and once on black. Knows points, not how they were learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.enumerable import Point, Task

PRICES = np.geomspace(0.01, 20, 200)
"""At which the frontier is drawn."""
BEST_OF = tuple(2**k for k in range(13))
NAMED = (1, 4, 16, 64, 256, 1024)
"""Of best-of-n, those with their number beside them."""
COLOURS = {
    "trajectory balance": "#009E73",
    "PPO": "#0072B2",
    "RLOO": "#E69F00",
    "GRPO": "#CC79A7",
    "expert iteration": "#D55E00",
}
"""Of Okabe and Ito; learners that have none are drawn in grey."""
TITLES = {
    "dense": "dense: every text is paid",
    "sparse": "sparse: one text in 90 is paid",
    "adversarial": "adversarial: one in 340",
}


class Theme(NamedTuple):
    """Holds the colours of everything but learners."""

    paper: str
    ink: str
    quiet: str


THEMES = {
    "": Theme("#ffffff", "#1f2328", "#8c959f"),
    "-dark": Theme("#0d1117", "#e6edf3", "#7d8590"),
}

Points = Mapping[tuple[str, str, float], Sequence[Point]]
"""Runs by reward, learner and price."""


def draw(tasks: Mapping[str, Task], points: Points, path: Path) -> None:
    """Draws the picture on white, and beside it, with `-dark` in its name, on black."""
    for suffix, theme in THEMES.items():
        _draw(tasks, points, path.with_stem(path.stem + suffix), theme)


def _draw(tasks: Mapping[str, Task], points: Points, path: Path, theme: Theme) -> None:
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(11, 4.3), layout="constrained", facecolor=theme.paper)
    panels = picture.subplots(1, len(tasks), sharey=True)
    for axes, (reward, task) in zip(panels, tasks.items(), strict=True):
        _draw_bounds(axes, task, theme)
        _draw_learners(axes, reward, points, theme)
        _finish(axes, TITLES[reward], theme)
    panels[0].set_ylabel("expected reward", color=theme.ink)
    picture.supxlabel(
        "KL from the reference, nats per text (square-root scale)", color=theme.ink, fontsize=10
    )
    handles, labels = panels[0].get_legend_handles_labels()
    picture.legend(
        handles, labels, loc="outside upper center", ncols=8, frameon=False, fontsize=9,
        labelcolor=theme.ink, handletextpad=0.4, columnspacing=1.4,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=150)


def _draw_bounds(axes: Any, task: Task, theme: Theme) -> None:
    """Draws the frontier, what is out of reach above it, and best-of-n."""
    rewards, kls = np.array(task.frontier(PRICES)).T
    axes.fill_between(kls, rewards, 1.2, color=theme.quiet, alpha=0.13, linewidth=0)
    axes.plot(kls, rewards, color=theme.ink, linewidth=1.6, label="frontier", zorder=2)
    best = {n: task.best_of(n) for n in BEST_OF}
    rewards, kls = np.array(list(best.values())).T
    axes.plot(
        kls, rewards, "--", color=theme.quiet, linewidth=1, marker="|", markersize=6,
        label="best of n", zorder=1,
    )  # fmt: skip
    for n in NAMED:
        axes.annotate(
            f"{n}", (best[n].kl, best[n].expected_reward), xytext=(4, -9), fontsize=7,
            textcoords="offset points", color=theme.quiet,
        )  # fmt: skip


def _draw_learners(axes: Any, reward: str, points: Points, theme: Theme) -> None:
    names = dict.fromkeys(learner for _, learner, _ in points)
    for name in sorted(names, key=lambda name: name in COLOURS):
        found = [runs for key, runs in points.items() if key[:2] == (reward, name)]
        rewards, kls = np.array([np.median(runs, axis=0) for runs in found]).T
        axes.scatter(
            kls, rewards, s=34 if name in COLOURS else 16, zorder=4 if name in COLOURS else 3,
            color=COLOURS.get(name, theme.quiet), edgecolor=theme.paper, linewidth=0.6,
            label=name if name in COLOURS else _others(axes),
        )  # fmt: skip


def _others(axes: Any) -> str:
    """Returns the label of learners without a colour, once a panel."""
    label = "the others"
    return f"_{label}" if label in axes.get_legend_handles_labels()[1] else label


def _finish(axes: Any, title: str, theme: Theme) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=theme.ink)
    axes.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    axes.set_xlim(0, 9)
    axes.set_xticks([0, 0.1, 0.5, 1, 2, 4, 6, 9], ["0", ".1", ".5", "1", "2", "4", "6", "9"])
    axes.set_ylim(-0.02, 1.03)
    axes.set_facecolor(theme.paper)
    axes.tick_params(colors=theme.quiet, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.quiet)
