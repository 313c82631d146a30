"""The picture of regret: where learners end on the exact frontier, and what each leaves.

A column for each reward: reward and KL above, regret by learner and price below; once on white and
once on black. Knows points, not how they were learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.enumerable import Point, Task
from benchmarks.interquartile import interquartile_mean

PRICES = np.geomspace(0.01, 20, 200)
"""At which the frontier is drawn."""
BEST_OF = tuple(2**k for k in range(13))
NUMBERED = (4, 16, 64, 256)
"""Of best-of-n, those with their number beside them."""
LITTLE = 0.05
"""Regret that counts as none."""
RINGS = {
    "trajectory balance": ("#009E73", 110),
    "PPO": ("#0072B2", 70),
    "RLOO": ("#E69F00", 40),
    "ACER": ("#CC79A7", 18),
}
"""Colour (of Okabe and Ito) and size; where learners meet, their rings are concentric."""
TITLES = {
    "dense": "dense: every text is paid something",
    "sparse": "sparse: 1 text in 90 is paid",
    "adversarial": "adversarial: 1 text in 340 is paid",
}


class Theme(NamedTuple):
    """Holds the colours of everything but learners."""

    paper: str
    ink: str
    quiet: str
    much: str
    little: str


THEMES = {
    "": Theme("#ffffff", "#1f2328", "#8c959f", "#e8590c", "#00704f"),
    "-dark": Theme("#0d1117", "#e6edf3", "#7d8590", "#b8420a", "#3ddc97"),
}
"""By what is added to the file's name."""

Points = Mapping[tuple[str, str, float], Sequence[Point]]
"""Runs by reward, learner and price."""


def draw(tasks: Mapping[str, Task], points: Points, path: Path) -> None:
    """Draws the picture on white, and beside it, with `-dark` in its name, on black."""
    for suffix, theme in THEMES.items():
        _draw(tasks, points, path.with_stem(path.stem + suffix), theme)


def _draw(tasks: Mapping[str, Task], points: Points, path: Path, theme: Theme) -> None:
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(11, 7.2), layout="constrained", facecolor=theme.paper)
    above, below = picture.subplots(2, len(tasks), sharey="row", height_ratios=(1.25, 1))
    for axes, regrets, (reward, task) in zip(above, below, tasks.items(), strict=True):
        _draw_bounds(axes, task, theme)
        _draw_learners(axes, reward, points, theme)
        _label_prices(axes, task, _prices(points), theme)
        _finish(axes, TITLES[reward], theme)
        _draw_regrets(regrets, _regrets(task, points), points, theme)
    above[0].set_ylabel("expected reward", color=theme.ink)
    above[1].set_xlabel("KL from the reference, nats per text (square-root scale)", color=theme.ink)
    below[1].set_xlabel("price β of a nat; regret in percent", color=theme.ink)
    legend = above[0].legend(loc="lower right", frameon=False, fontsize=8, labelcolor=theme.ink)
    legend.set_zorder(5)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=150)


def _learners(points: Points) -> list[str]:
    return list(dict.fromkeys(learner for _, learner, _ in points))


def _prices(points: Points) -> list[float]:
    return list(dict.fromkeys(beta for _, _, beta in points))


def _draw_bounds(axes: Any, task: Task, theme: Theme) -> None:
    """Draws the frontier, what is out of reach above it, and best-of-n."""
    rewards, kls = np.array(task.frontier(PRICES)).T
    axes.fill_between(kls, rewards, 1.2, color=theme.quiet, alpha=0.13, linewidth=0)
    axes.plot(kls, rewards, color=theme.ink, linewidth=1.4, label="frontier", zorder=2)
    best = {n: task.best_of(n) for n in BEST_OF}
    rewards, kls = np.array(list(best.values())).T
    axes.plot(
        kls, rewards, "--", color=theme.quiet, linewidth=1, marker="|", markersize=7,
        label="best of n", zorder=1,
    )  # fmt: skip
    for n in NUMBERED:
        if best[n].expected_reward - task.start.expected_reward < LITTLE:
            continue  # at the foot of the curve there is no room
        axes.annotate(
            f"n = {n}", (best[n].kl, best[n].expected_reward), xytext=(6, -9), fontsize=7,
            textcoords="offset points", color=theme.quiet,
        )  # fmt: skip


def _draw_learners(axes: Any, reward: str, points: Points, theme: Theme) -> None:
    """Draws a ring for every learner that has one, and dots for the others."""
    others = [name for name in _learners(points) if name not in RINGS]
    for name in (*others, *RINGS):
        mine = [runs for key, runs in points.items() if key[:2] == (reward, name)]
        found = [np.median(runs, axis=0) for runs in mine]
        if not found:
            continue
        rewards, kls = np.array(found).T
        if name in RINGS:
            colour, size = RINGS[name]
            style = {"s": size, "facecolor": "none", "edgecolor": colour, "linewidth": 1.6}
            axes.scatter(kls, rewards, zorder=4, label=name, **style)
        else:
            label = "the others" if name == others[0] else None
            axes.scatter(kls, rewards, s=12, zorder=3, color=theme.quiet, label=label)


def _label_prices(axes: Any, task: Task, betas: Sequence[float], theme: Theme) -> None:
    """Names the price at its optimum, unless the name of a higher one stands there."""
    last = 2.0
    for beta in sorted(betas):
        best = task.optimum(beta)
        if last - best.expected_reward > LITTLE:
            near = best.kl < 0.1  # the axis of rewards
            axes.annotate(
                f"β = {beta:g}",
                best[::-1],
                xytext=(2, 10) if near else (-6, 6),
                ha="center" if near else "right",
                textcoords="offset points",
                fontsize=8,
                color=theme.ink,
            )
            last = best.expected_reward


def _finish(axes: Any, title: str, theme: Theme) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=theme.ink)
    axes.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    axes.set_xlim(0, 9.4)
    axes.set_xticks([0, 0.1, 0.5, 1, 2, 4, 6, 9], ["0", ".1", ".5", "1", "2", "4", "6", "9"])
    axes.set_ylim(-0.04, 1.08)
    axes.set_facecolor(theme.paper)
    axes.tick_params(colors=theme.quiet, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.quiet)


def _regrets(task: Task, points: Points) -> NDArray[np.float64]:
    """Returns the interquartile mean of regrets, learners by prices."""
    return np.array(
        [
            [
                interquartile_mean(
                    np.array([task.regret(one, beta) for one in points[task.name, name, beta]])
                )
                for beta in _prices(points)
            ]
            for name in _learners(points)
        ]
    )


def _draw_regrets(axes: Any, regrets: NDArray[np.float64], points: Points, theme: Theme) -> None:
    """Draws a table: the more regret, the deeper its colour; little of it stands out in bold."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("regret", [theme.paper, theme.much])
    axes.imshow(np.sqrt(regrets.clip(0, 1)), cmap=colours, vmin=0, vmax=1, aspect="auto")
    for (row, column), regret in np.ndenumerate(regrets):
        little = regret <= LITTLE
        axes.text(
            column, row, f"{100 * regret:.1f}" if regret < 0.0995 else f"{100 * regret:.0f}",
            ha="center", va="center", fontsize=8, fontweight="bold" if little else "normal",
            color=theme.little if little else theme.ink,
        )  # fmt: skip
    axes.set_xticks(range(regrets.shape[1]), [f"{beta:g}" for beta in _prices(points)])
    axes.set_yticks(range(len(regrets)), _learners(points))
    axes.tick_params(colors=theme.ink, labelsize=8, length=0)
    axes.set_facecolor(theme.paper)
    axes.spines[:].set_visible(False)
