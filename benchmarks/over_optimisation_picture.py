"""The picture of over-optimisation: what gold and proxy gain on the way from the reference.

A column for each number of judgements, a row for clean and for flipped ones; gold in full lines,
proxy in dashes, best-of-n thin and PPO thick; medians over seeds. Once on white and once on black.
Knows curves, not how they were measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.regret_picture import THEMES, Theme

COLOURS = {"single": "#D55E00", "minimum of 4": "#0072B2", "averaged": "#009E73"}
"""Of Okabe and Ito."""
WIDTHS = {"best of n": 0.9, "PPO": 2.0}
GRID = np.linspace(0.0, 6.0, 61)
"""√KL at which the curves of several seeds are put together."""

Curves = Mapping[tuple[Any, ...], Mapping[str, Any]]
"""By case (judgements, share flipped, seed), variant and way."""


def draw(found: Curves, path: Path) -> None:
    """Draws the picture on white, and beside it, with `-dark` in its name, on black."""
    for suffix, theme in THEMES.items():
        _draw(found, path.with_stem(path.stem + suffix), theme)


def _draw(found: Curves, path: Path, theme: Theme) -> None:
    from matplotlib.figure import Figure as Picture

    judgements = sorted({case[0] for case, *_ in found})
    flipped = sorted({case[1] for case, *_ in found})
    picture = Picture(figsize=(11, 6.4), layout="constrained", facecolor=theme.paper)
    grid = picture.subplots(len(flipped), len(judgements), sharex=True, sharey=True, squeeze=False)
    for row, share in zip(grid, flipped, strict=True):
        for axes, n in zip(row, judgements, strict=True):
            _draw_curves(axes, found, n, share)
            _finish(axes, f"{n:,} judgements, {share:.0%} flipped", theme)
    grid[-1][0].set_xlabel("√KL from the reference (√nats per text)", color=theme.ink)
    grid[0][0].set_ylabel("gain (standard deviations)", color=theme.ink)
    legend = grid[0][0].legend(frameon=False, fontsize=7, labelcolor=theme.ink)
    legend.set_title("full: gold, dashed: proxy", {"size": 7})
    legend.get_title().set_color(theme.ink)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=150)


def _draw_curves(axes: Any, found: Curves, judgements: int, flipped: float) -> None:
    for variant, colour in COLOURS.items():
        for way, width in WIDTHS.items():
            mine = [
                curves
                for (case, *key), curves in found.items()
                if tuple(case)[:2] == (judgements, flipped) and key == [variant, way]
            ]
            for reward, style in (("gold", "-"), ("proxy", "--")):
                at, middle = median_curve(mine, reward)
                label = f"{variant}, {way}" if reward == "gold" else None
                axes.plot(at, middle, style, color=colour, linewidth=width, label=label)


def median_curve(curves: Sequence[Mapping[str, Any]], reward: str) -> tuple[Any, Any]:
    """Returns the median over seeds against √KL, as far as every seed goes.

    Args:
        curves: Of each seed: `kl`, and the reward at it; KL need not rise.
        reward: "gold" or "proxy".
    """
    roots = [np.maximum.accumulate(np.sqrt(np.maximum(one["kl"], 0.0))) for one in curves]
    at = GRID[min((root[-1] for root in roots), default=-1.0) >= GRID]
    read = [np.interp(at, root, one[reward]) for root, one in zip(roots, curves, strict=True)]
    return at, np.median(read, axis=0) if read else at


def _finish(axes: Any, title: str, theme: Theme) -> None:
    axes.set_title(title, fontsize=9, color=theme.ink)
    axes.set_facecolor(theme.paper)
    axes.axhline(0.0, color=theme.quiet, linewidth=0.6)
    axes.grid(color=theme.quiet, alpha=0.2)
    axes.tick_params(colors=theme.ink, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.quiet)
