"""The picture of efficiency: which share of all runs has solved its task after how many texts.

Source: performance profiles, Agarwal et al. 2021, arXiv:2108.13264. Runs no learner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Of Okabe and Ito, which stay apart for the colour-blind."""
STROKES = ("-", "--", ":")
"""Each with all of the colours."""

Table = Sequence[Sequence[float]]
"""Texts that runs needed, task by task; infinite where they did not come so far."""


def profile(needed: Table, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the share of runs that needed at most so many texts, every task with one weight.

    Args:
        needed: Of m tasks with any number of runs each.
        places: Numbers of texts, (n,).

    Example:
        >>> profile([[10.0, 30.0], [np.inf]], np.array([5.0, 10.0, 30.0]))
        array([0.  , 0.25, 0.5 ])
    """
    shares = [(np.asarray(runs)[:, None] <= places).mean(axis=0) for runs in needed]
    return np.asarray(np.mean(shares, axis=0))


def band(
    needed: Table, places: NDArray[np.float64], *, draws: int = 500, seed: int = 0
) -> NDArray[np.float64]:
    """Returns the bounds of a profile's 95 % interval, (2, n), by a bootstrap task by task."""
    np_random = np.random.default_rng(seed)
    samples = [
        profile([np_random.choice(runs, len(runs)) for runs in needed], places)
        for _ in range(draws)
    ]
    return np.asarray(np.quantile(samples, [0.025, 0.975], axis=0))


def draw(needed: Mapping[float, Mapping[str, Table]], budget: int, path: Path) -> None:
    """Draws a panel for each share of the optimum, with the profile of every learner.

    Args:
        needed: By share, and by learner.
        budget: Texts of a run.
        path: Of the picture.
    """
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(11, 4.4), layout="constrained")
    panels = picture.subplots(1, len(needed), sharey=True, squeeze=False)[0]
    for axes, (share, learners) in zip(panels, needed.items(), strict=True):
        _draw_profiles(axes, learners, budget)
        axes.set_title(f"{share:.0%} of the optimum", loc="left", fontsize=10)
    panels[0].set_ylabel("share of runs that reached it")
    picture.supxlabel("texts learnt from", fontsize=10)
    handles = panels[0].get_legend_handles_labels()
    picture.legend(*handles, loc="outside right center", frameon=False, fontsize=8)
    picture.savefig(path, dpi=130)


def _draw_profiles(axes: Any, learners: Mapping[str, Table], budget: int) -> None:
    places = np.linspace(0, budget, 400)
    for index, (name, needed) in enumerate(learners.items()):
        stroke, colour = STROKES[index // len(COLOURS)], COLOURS[index % len(COLOURS)]
        axes.fill_between(places, *band(needed, places), color=colour, alpha=0.12, linewidth=0)
        axes.plot(places, profile(needed, places), stroke, color=colour, linewidth=1.5, label=name)
    axes.set_xlim(0, budget)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
