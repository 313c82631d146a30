"""Compare how soon learners solve the toys: `python benchmarks/efficiency.py`.

Ours, Stable-Baselines3's, sb3-contrib's and TRL's, on every toy of `text_gym.tasks`, with one
setting an algorithm: after how many texts, and seconds of one processor, the mean of the last 256
texts that a learner sampled is at 50, 80, 95 and 99 % of the optimum, which is 1. All transformers
start untrained, of one size. A run ends at 99 % or with its budget; a share that it did not reach
counts as the whole budget, which is too little.

Where seconds count, a run of ours goes just before a rival's. Runs are kept one by one
in `efficiency.jsonl`, the most important first: a benchmark that was killed, or stopped by
`--minutes`, goes on where it was, and figures are those of the runs that there are. TRL's take part
where interpreters that have them are given, as `make bench-efficiency` does. Writes figures as JSON
and performance profiles as PNG.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import numpy as np

from benchmarks import command_line, family
from benchmarks.cells import Cells, Plain
from benchmarks.contestants import (
    FASTEST,
    OURS,
    SB3,
    SB3_TRANSFORMER,
    Contestant,
    trl_learners,
)
from benchmarks.efficiency_picture import draw
from benchmarks.figures import Figure, figure, write_result
from benchmarks.interquartile import interquartile_mean, interval_figure, ratio_figure
from benchmarks.learning_curve import SHARES, WINDOW
from text_gym.tasks import TOY_TASKS

BUDGET = 10_240, 1_024
"""Texts of a run, and under `--quick`."""
JUDGED = 0.95
"""Of the optimum: where learners are held against each other."""
WANTED = 1.1
"""Texts of ours over theirs: what the interval should lie below."""
TIMED = ("CountingUp", "Sorting")
"""The toys on which seconds are held against each other first."""


class Part(NamedTuple):
    """Says what is measured in turns.

    Attributes:
        contestants: Who learns.
        toys: What is learnt.
        rivals: Whether they are held against ours.
        slower: How many times as long as ours they should take; None: there is no goal.
    """

    contestants: Sequence[Contestant]
    toys: Sequence[str] = tuple(TOY_TASKS)
    rivals: bool = True
    slower: float | None = None


class Cell(NamedTuple):
    """Names a run."""

    learner: str
    toy: str
    seed: int


Runs = Mapping[Cell, Plain]


def parts_of(options: argparse.Namespace) -> list[Part]:
    """Returns the design, the most important first."""
    trl = trl_learners(options.trl_python, options.trl_latest_python)
    everything = [
        Part(OURS[:2], rivals=False),
        Part(SB3[:1]),
        Part([SB3_TRANSFORMER], TIMED, slower=15.0),
        Part(trl, TIMED, slower=5.0),
        Part(OURS[2:], rivals=False),
        Part(SB3[1:]),
        Part(trl, [toy for toy in TOY_TASKS if toy not in TIMED], slower=5.0),
    ]
    if options.quick:
        return [part._replace(toys=TIMED) for part in everything[:4]]
    return everything


def outcome(contestant: Contestant, beside: bool, toy: str, seed: int, budget: int) -> Plain:
    """Lets one learner learn, and, if asked, the fastest of ours just before it."""
    ours = {"beside": seconds_to(FASTEST.run(toy, seed, budget), JUDGED)} if beside else {}
    return {**ours, **contestant.run(toy, seed, budget)}


def key_of(contestant: Contestant, beside: bool, toy: str, seed: int, budget: int) -> Plain:
    """Returns all that a run depends on."""
    ours = {"beside": FASTEST.plain()} if beside else {}
    return {"toy": toy, "seed": seed, "budget": budget, **ours, **contestant.plain()}


def measure(
    parts: Sequence[Part], cells: Cells, seeds: Sequence[int], budget: int, minutes: float
) -> dict[Cell, Plain]:
    """Runs what has not been run yet, until time is up, and returns all that has been."""
    runs, end = {}, monotonic() + 60 * minutes
    for part in parts:
        for seed, toy, contestant in product(seeds, part.toys, part.contestants):
            what = (contestant, part.slower is not None, toy, seed, budget)
            key = key_of(*what)
            if monotonic() < end or key in cells:
                found = runs[Cell(contestant.name, toy, seed)] = cells.found(
                    key, partial(outcome, *what)
                )
                reached = {share: one[0] for share, one in found["reached"].items()}
                print(f"{toy}, {contestant.name}, seed {seed}: {reached}", flush=True)
    return runs


def episodes_to(run: Plain, share: float, otherwise: float) -> float:
    """Returns the texts that a run needed, or what is given for one that did not come so far."""
    found = run["reached"].get(str(share))
    return float(found[0]) if found else otherwise


def seconds_to(run: Plain, share: float) -> float:
    """Returns the seconds that a run needed; all that it took if it did not come so far."""
    found = run["reached"].get(str(share))
    return float(found[1] if found else run["seconds"])


def table_of(
    runs: Runs, learner: str, toys: Iterable[str], share: float, otherwise: float
) -> list[list[float]]:
    """Returns the texts that runs needed, a row for each toy that has any."""
    rows = [
        [
            episodes_to(run, share, otherwise)
            for cell, run in runs.items()
            if cell[:2] == (learner, toy)
        ]
        for toy in toys
    ]
    return [row for row in rows if row]


def of_learner(runs: Runs, learner: str, budget: int) -> list[Figure]:
    """Returns what a learner needed on all its toys together, in texts and in seconds."""
    mine = {cell: run for cell, run in runs.items() if cell.learner == learner}
    toys = list(dict.fromkeys(cell.toy for cell in mine))
    found = []
    for share in SHARES:
        rows = table_of(mine, learner, toys, share, budget)
        fewest = min(map(len, rows))  # seeds that all toys have, so that each has its weight
        there = sum(str(share) in run["reached"] for run in mine.values())
        note = f"{there} of {len(mine)} runs came so far; toys: {len(toys)}"
        scores = [row[:fewest] for row in rows]
        found.append(interval_figure(f"{learner}: to {share:.0%}", scores, "texts", note=note))
    seconds = [seconds_to(run, JUDGED) for run in mine.values()]
    found.append(figure(f"{learner}: to {JUDGED:.0%}, processor time", seconds, "s"))
    return found


def of_toy(
    runs: Runs, ours: Sequence[str], rivals: Sequence[str], toy: str, budget: int
) -> list[Figure]:
    """Returns the texts of the best of ours over those of the best rival, if both have runs.

    Nothing where no run came so far. A rival that did not counts as the whole budget, which
    flatters it; ours must have come so far in three runs of four, or what it needs is not known.
    """
    mine, theirs = (soonest(runs, names, toy, budget) for names in (ours, rivals))
    if mine is None or theirs is None:
        return []
    there = [sum(texts < budget for texts in each.texts) for each in (mine, theirs)]
    if not any(there):
        return []
    came = (f"{n} of {len(each.texts)}" for n, each in zip(there, (mine, theirs), strict=True))
    note = f"{' and '.join(came)} runs came so far; the interval's upper end is held to the goal"
    name = f"{toy}: texts to {JUDGED:.0%}, {mine.learner} / {theirs.learner}"
    one = ratio_figure(name, mine.texts, theirs.texts, note=note)
    if min(len(mine.texts), len(theirs.texts)) == 1:
        return [one]  # one run has no interval
    holds = one.highest <= WANTED and there[0] >= 0.75 * len(mine.texts)
    return [dataclasses.replace(one, goal=WANTED, rule="at most", holds=holds)]


class Needed(NamedTuple):
    """Holds the texts that the runs of a learner needed on a toy."""

    learner: str
    texts: list[float]


def soonest(runs: Runs, learners: Sequence[str], toy: str, budget: int) -> Needed | None:
    """Returns what the learner needed that needed least; None if none has a run."""
    found = [
        Needed(name, texts)
        for name in learners
        for texts in table_of(runs, name, [toy], JUDGED, budget)
    ]
    return min(found, key=lambda one: interquartile_mean(np.array(one.texts)), default=None)


def of_time(runs: Runs, rival: str, goal: float) -> list[Figure]:
    """Returns the seconds of a rival over those of ours beside it, pair by pair."""
    pairs = [
        seconds_to(run, JUDGED) / run["beside"]
        for cell, run in runs.items()
        if cell.learner == rival
    ]
    note = f"pairs in turns; a run that did not come to {JUDGED:.0%} counts with all its seconds"
    name = f"{rival} / {FASTEST.name}: processor time to {JUDGED:.0%}"
    return [figure(name, pairs, at_least=goal, note=note)] if pairs else []


def figures_of(runs: Runs, parts: Sequence[Part], budget: int) -> list[Figure]:
    """Returns what ours need beside the best rival, toy by toy, and what every learner needs."""
    names = [(one.name, part) for part in parts for one in part.contestants]
    ours = [name for name, part in names if not part.rivals]
    rivals = list(dict.fromkeys(name for name, part in names if part.rivals))
    found = []
    for toy in TOY_TASKS:
        found += of_toy(runs, ours, rivals, toy, budget)
    goals = {name: part.slower for name, part in names if part.slower is not None}
    for name, goal in goals.items():
        found += of_time(runs, name, goal)
    for name in dict.fromkeys(cell.learner for cell in runs):
        found += of_learner(runs, name, budget)
    return found


def profiles_of(runs: Runs) -> dict[float, dict[str, list[list[float]]]]:
    """Returns the texts that runs needed, by share and learner, of those with runs on all toys."""
    names = dict.fromkeys(cell.learner for cell in runs)
    toys = dict.fromkeys(cell.toy for cell in runs)
    return {
        share: {
            name: rows
            for name in names
            if len(rows := table_of(runs, name, toys, share, math.inf)) == len(toys)
        }
        for share in (0.8, JUDGED)
    }


def main() -> None:
    """Runs what has not been run yet, and writes figures and picture."""
    parser = command_line.parser(__doc__, repeats=10, quick_repeats=1)
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which none begins")
    parser.add_argument("--trl-python", type=Path, help="interpreter with trl 1.12.0")
    parser.add_argument("--trl-latest-python", type=Path, help="interpreter with trl 1.16.0")
    parser.set_defaults(threads=1)
    options = command_line.parse(parser)
    budget, parts = BUDGET[options.quick], parts_of(options)
    seeds = range(options.seed, options.seed + options.repeats)
    cells = Cells(options.output / "efficiency.jsonl")
    runs = measure(parts, cells, seeds, budget, options.minutes)
    settings = {
        "budget": budget,
        "window": WINDOW,
        "model": f"GPT-2 {family.LAYERS} x {family.WIDTH}, untrained",
        "runs": dict(Counter(cell.learner for cell in runs)),
        **{one.name: one.plain() for part in parts for one in part.contestants},
    }
    result = write_result(
        "efficiency",
        figures_of(runs, parts, budget),
        seed=options.seed,
        settings=settings,
        folder=options.output,
    )
    draw(profiles_of(runs), budget, result.with_suffix(".png"))


if __name__ == "__main__":
    main()
