"""Count judgements to a gold win rate, by which pairs are asked: `python benchmarks/asking.py`.

Pairs are drawn by lot, or are those on which proxies disagree. Simulated people (75 % reliable)
judge a batch after the other. After each batch three proxies learn anew from all that was said; the
best of 16 texts by their mean is held against a text at random, by gold, on held-out prompts. Both
ways begin with the same first batch, drawn by lot. How many judgements reach the win rate is
interpolated between batches. A cell is one seed and way; killed, the script goes on with the cell
it was at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluation.intervals import mean_interval
from agents.loop.pair_selection import most_disagreed
from agents.loop.stages import log_odds
from benchmarks import command_line, proxies
from benchmarks.cells import Cells
from benchmarks.figures import Figure, figure, write_result
from text_gym.feedback import Item

WAYS = ("random", "disagreement")
WANTED = 0.65
ACCURACY = 0.75
MEMBERS = 3
BEST_OF = 16
BATCH, BATCHES = (50, 20), (6, 2)
"""Judgements at once, and how often; the second ones under `--quick`."""
POOL, PAIRS = ((64, 64), (4, 32)), (2000, 100)
"""Held-out prompts and texts to each; pairs to choose from."""


def curve(way: str, seed: int, folder: Path, quick: bool) -> dict[str, Any]:
    """Returns the win rate after each batch of judgements.

    Args:
        way: Of `WAYS`.
        seed: Of texts, answers and proxies.
        folder: Where texts are kept.
        quick: Whether a little will do.
    """
    pool = proxies.pool(folder, *POOL[quick], seed)
    left = proxies.pairs(folder, PAIRS[quick], 2, seed)
    asked: list[Item] = []
    models: list[Any] = []
    counts, rates = [], []
    for _ in range(BATCHES[quick]):
        batch = _next(way, left, models, BATCH[quick])
        asked += [left[at] for at in batch]
        left = [pair for at, pair in enumerate(left) if at not in set(batch)]
        said = proxies.judged(asked, ACCURACY, seed)
        models = [proxies.learnt(said, 10 * seed + member) for member in range(MEMBERS)]
        mean = np.mean([pool.by(model) for model in models], axis=0)
        counts.append(len(asked))
        rates.append(proxies.wins_of_best(mean, pool.gold, BEST_OF))
        print(f"{way}, seed {seed}: {counts[-1]} judgements, {rates[-1]:.3f} won", flush=True)
    return {"judgements": counts, "win_rates": rates}


def _next(way: str, left: Sequence[Item], models: Sequence[Any], size: int) -> list[int]:
    """Returns the places of the pairs that are asked: `left` is in an order by lot."""
    if way == "random" or not models:
        return list(range(min(size, len(left))))
    return [int(at) for at in most_disagreed(log_odds(left, models), size)]


def judgements_to(wanted: float, judgements: Sequence[int], win_rates: Sequence[float]) -> float:
    """Returns how many judgements reach a win rate first; infinite if none does.

    Before anything is judged the win rate is one half.

    Example:
        >>> judgements_to(0.75, [100, 200, 300], [0.5, 1.0, 0.5])
        150.0
    """
    counts, rates = [0, *judgements], [0.5, *win_rates]
    for at in range(1, len(counts)):
        if rates[at] >= wanted:
            share = (wanted - rates[at - 1]) / (rates[at] - rates[at - 1])
            return float(counts[at - 1] + share * (counts[at] - counts[at - 1]))
    return float("inf")


def figures_of(
    curves: Mapping[tuple[str, int], Mapping[str, Any]], seeds: Sequence[int]
) -> list[Figure]:
    """Returns judgements by way, and their ratio by seed, of the curves of every way and seed."""
    found, needed = [], {}
    for way in WAYS:
        mine = [curves[way, seed] for seed in seeds]
        needed[way] = [judgements_to(WANTED, **one) for one in mine]
        last = [one["win_rates"][-1] for one in mine]
        found.append(figure(f"{way}: win rate after the last batch", last, ""))
        reached = [one for one in needed[way] if np.isfinite(one)]
        note = f"reached by {len(reached)} of {len(seeds)} seeds"
        if reached:
            name = f"{way}: judgements to a win rate of {WANTED:.0%}"
            found.append(figure(name, reached, "judgements", note=note))
    last = [
        curves[WAYS[1], seed]["win_rates"][-1] - curves[WAYS[0], seed]["win_rates"][-1]
        for seed in seeds
    ]
    mean, half = mean_interval(last)
    note = f"95 % interval {mean - half:+.3f} to {mean + half:+.3f}, {len(last)} seeds"
    found.append(figure("disagreement - random: win rate after the last batch", last, note=note))
    both = [
        (a, b) for a, b in zip(*needed.values(), strict=True) if np.isfinite(a) and np.isfinite(b)
    ]
    if both:
        ratios = [disagreement / random for random, disagreement in both]
        note = interval_of_ratio(ratios)
        found.append(figure("disagreement / random: judgements", ratios, at_most=0.8, note=note))
    return found


def interval_of_ratio(ratios: Sequence[float]) -> str:
    """Returns the geometric mean of ratios, one a seed, with its 95 % interval, as a sentence."""
    mean, half = mean_interval(np.log(ratios).tolist())
    low, middle, high = np.exp([mean - half, mean, mean + half])
    return (
        f"geometric mean {middle:.2f}, 95 % interval {low:.2f} to {high:.2f}, {len(ratios)} seeds"
    )


def main() -> None:
    """Measures the cells that are missing, and writes figures."""
    parser = command_line.parser(__doc__, repeats=5, quick_repeats=1)
    parser.add_argument("--work", type=Path, default=Path("runs/asking"), help="folder of cells")
    options = command_line.parse(parser)
    cells = Cells(options.work / "cells.jsonl")
    seeds = range(options.seed, options.seed + options.repeats)
    settings = {
        "wanted": WANTED, "accuracy": ACCURACY, "members": MEMBERS, "best_of": BEST_OF,
        "batch": BATCH[options.quick], "batches": BATCHES[options.quick],
        "pool": POOL[options.quick], "pairs": PAIRS[options.quick],
    }  # fmt: skip
    curves = {
        (way, seed): cells.found(
            {"way": way, "seed": seed, **settings},
            lambda way=way, seed=seed: curve(way, seed, options.work, options.quick),
        )
        for seed in seeds
        for way in WAYS
    }
    write_result(
        "asking",
        figures_of(curves, seeds),
        seed=options.seed,
        settings=settings,
        folder=options.output,
    )


if __name__ == "__main__":
    main()
