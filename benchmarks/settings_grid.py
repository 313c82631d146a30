"""Look for the settings of `efficiency.py`: `python benchmarks/settings_grid.py`.

Every contestant has a small grid around the setting that its library or its paper suggests. Each of
its settings learns counting up and sorting with a seed that no figure holds; the one that needs the
fewest texts to 95 % of the optimum, on both together, is the contestant's in
`benchmarks/contestants.py`. A run that does not come so far counts as its whole budget, and
settings with equally many texts are told apart by the mean score that they end with.

Runs are kept one by one in `settings_grid.jsonl`: a search that was killed, or stopped by
`--minutes`, goes on where it was. Writes the figures of every setting as JSON.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from benchmarks import command_line
from benchmarks.cells import Cells, Plain
from benchmarks.contestants import OURS, SB3, SB3_TRANSFORMER, Contestant, trl_learners
from benchmarks.efficiency import BUDGET, JUDGED, TIMED, episodes_to
from benchmarks.figures import Figure, figure, write_result

SEED = 100
Grid = Mapping[str, Sequence[Any]]

_RATES = {"learning_rate": (1e-3, 3e-3, 1e-2)}
GRIDS: Mapping[str, Grid] = {
    "SB3 PPO": {**_RATES, "n_epochs": (4, 10)},
    "SB3 A2C": {**_RATES, "n_steps": (5, 16)},
    "sb3-contrib TRPO": {"target_kl": (0.01, 0.02, 0.05), "n_steps": (32, 64)},
    "SB3 PPO, transformer": {"learning_rate": (1e-3, 3e-3), "n_epochs": (4, 10)},
    "TRL PPO": {"learning_rate": (1e-3, 3e-3), "num_ppo_epochs": (4, 8)},
    "TRL GRPO": {**_RATES, "num_iterations": (1, 4)},
    "TRL RLOO": {**_RATES, "num_iterations": (1, 4)},
    "Dr. GRPO": {**_RATES, "n_epochs": (2, 4)},
    "GRPO": {**_RATES, "n_epochs": (2, 4)},
    "RLOO": {**_RATES, "n_epochs": (2, 4)},
    "PPO": {**_RATES, "n_epochs": (4, 10)},
    "REINFORCE": {**_RATES, "ent_coef": (0.02, 0.1)},
    "REINFORCE++": {**_RATES, "ent_coef": (0.02, 0.1)},
    "expert iteration": {**_RATES, "n_epochs": (2, 4)},
    "TRPO": {"max_kl": (0.02, 0.05, 0.1), "n_epochs": (4, 10)},
    "ACER": {"learning_rate": (1e-3, 2e-3, 5e-3), "replay_ratio": (4, 8)},
    "trajectory balance": {"learning_rate": (1e-3, 3e-3), "kl_coef": (0.01, 0.03, 0.1)},
}
"""By contestant: what is tried, each value of a setting with each of the others'.

MaskablePPO has that of SB3's PPO, which it is where no token is forbidden.
"""


class Found(NamedTuple):
    """Holds what one setting came to, so that the least is the best.

    Attributes:
        texts: To 95 % of the optimum, on all tasks together.
        missing: To the optimum at the end, likewise.
        setting: What was set.
    """

    texts: float
    missing: float
    setting: Mapping[str, Any]


def settings_of(grid: Grid) -> list[dict[str, Any]]:
    """Returns every setting of a grid."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def found_of(runs: Iterable[Plain], setting: Mapping[str, Any], budget: int) -> Found:
    """Adds the runs of one setting up."""
    runs = list(runs)
    texts = sum(episodes_to(run, JUDGED, budget) for run in runs)
    return Found(texts, sum(1 - run["last"] for run in runs), setting)


def tried(contestant: Contestant, cells: Cells, budget: int, seed: int, end: float) -> list[Found]:
    """Returns what the settings of a contestant came to, the best first.

    A setting that has not been run yet is run; after `end` it is left out.
    """
    found = []
    for setting in settings_of(GRIDS[contestant.name]):
        one = contestant.but(**setting)
        keys = {toy: {"toy": toy, "seed": seed, "budget": budget, **one.plain()} for toy in TIMED}
        if monotonic() > end and not all(key in cells for key in keys.values()):
            continue
        runs = [cells.found(key, partial(one.run, toy, seed, budget)) for toy, key in keys.items()]
        found.append(found_of(runs, setting, budget))
        print(f"{contestant.name}: {found[-1]}", flush=True)
    return sorted(found, key=lambda each: each[:2])


def name_of(contestant: str, setting: Mapping[str, Any]) -> str:
    """Returns what the figure of a setting is called."""
    return f"{contestant}: {', '.join(f'{key} {value:g}' for key, value in setting.items())}"


def figures_of(name: str, found: Sequence[Found]) -> list[Figure]:
    """Returns a figure for each setting of a contestant, the best first."""
    return [
        figure(
            name_of(name, one.setting),
            one.texts / len(TIMED),
            "texts",
            note=f"share of the optimum at the end: {1 - one.missing / len(TIMED):.3f}",
        )
        for one in found
    ]


def contestants_of(options: argparse.Namespace) -> list[Contestant]:
    """Returns everybody who has a grid."""
    trl = trl_learners(options.trl_python, options.trl_latest_python)
    return [one for one in (*SB3, SB3_TRANSFORMER, *trl, *OURS) if one.name in GRIDS]


def main() -> None:
    """Runs what has not been run yet, and writes what every setting came to."""
    parser = command_line.parser(__doc__, repeats=1, quick_repeats=1)
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which none begins")
    parser.add_argument("--trl-python", type=Path, help="interpreter with trl 1.12.0")
    parser.add_argument("--trl-latest-python", type=Path, help="interpreter with trl 1.16.0")
    parser.set_defaults(threads=1, seed=SEED)
    options = command_line.parse(parser)
    cells, end = Cells(options.output / "settings_grid.jsonl"), monotonic() + 60 * options.minutes
    figures = []
    for one in contestants_of(options):
        found = tried(one, cells, BUDGET[options.quick], options.seed, end)
        figures += figures_of(one.name, found)
    settings = {"budget": BUDGET[options.quick], "tasks": list(TIMED)}
    write_result(
        "settings_grid", figures, seed=options.seed, settings=settings, folder=options.output
    )


if __name__ == "__main__":
    main()
