"""The picture of growth: what a token costs, and what memory rises by, against four sizes.

A column for each size, time above and memory below, both logarithmic; in dashes, what products and
memory alone would take. Once on white and once on black. Knows numbers, not how they were measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.regret_picture import THEMES, Theme

PARTS = ("rollout", "update")
COLOURS = {"rollout": "#0072B2", "update": "#D55E00"}
"""Of Okabe and Ito."""


class Point(NamedTuple):
    """What was measured at one size.

    Attributes:
        size: Of what grows.
        seconds: Per new token, by part, several measurements; and `floors`, one number by part.
        bytes: By part.
    """

    size: int
    seconds: Mapping[str, Any]
    bytes: Mapping[str, Any]

    def cost(self, part: str) -> float:
        """Returns the seconds of a new token, the median of the measurements."""
        return median(self.seconds[part])

    def floor(self, part: str) -> float:
        """Returns the seconds that products and memory alone would take."""
        return float(self.seconds["floors"][part])


Curves = Mapping[str, Sequence[Point]]
"""By the name of what grows."""


def draw(found: Curves, path: Path) -> None:
    """Draws the picture on white, and beside it, with `-dark` in its name, on black."""
    for suffix, theme in THEMES.items():
        _draw(found, path.with_stem(path.stem + suffix), theme)


def _draw(found: Curves, path: Path, theme: Theme) -> None:
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(12, 5.6), layout="constrained", facecolor=theme.paper)
    above, below = picture.subplots(2, len(found), sharex="col", sharey="row", squeeze=False)
    for time, memory, (axis, points) in zip(above, below, found.items(), strict=True):
        sizes = [point.size for point in points]
        for part, colour in COLOURS.items():
            costs = [1e6 * point.cost(part) for point in points]
            floors = [1e6 * point.floor(part) for point in points]
            time.plot(sizes, costs, "o-", color=colour, markersize=4, label=part)
            time.plot(sizes, floors, "--", color=colour, linewidth=1, label=f"{part}, floor")
            mebibytes = [point.bytes[part] / 2**20 or math.nan for point in points]
            memory.plot(sizes, mebibytes, "o-", color=colour, markersize=4)
        memory.set_xlabel(axis, color=theme.ink)
        for axes in (time, memory):
            _finish(axes, theme)
    above[0].set_ylabel("µs a new token", color=theme.ink)
    below[0].set_ylabel("rise of memory (MiB)", color=theme.ink)
    above[0].legend(frameon=False, fontsize=8, labelcolor=theme.ink)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=150)


def _finish(axes: Any, theme: Theme) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_facecolor(theme.paper)
    axes.grid(color=theme.quiet, alpha=0.2)
    axes.tick_params(which="both", colors=theme.ink, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.quiet)
