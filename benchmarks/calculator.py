"""Sums with a calculator and without: `python benchmarks/calculator.py`.

Of held-out sums, how many are answered right: by the model that imitates demonstrations, by the
best of eight of its texts, and after training by reward; with the calculator and, from the same
model with as many texts, without.

`--sb3` measures the smallest version alone: four sums, on which Stable-Baselines3's PPO learns
beside ours.

Runs are kept in a folder: what is finished is not run again, and what was killed is resumed.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from agents.algorithms.best_of_n import BestOfN
from agents.applications.calculator.application import CALCULATOR
from agents.applications.fine_tuning import FineTuning
from agents.runs import pipeline
from agents.runs.console import run_console
from agents.runs.environments import load_responder, make_envs
from agents.runs.models import load_policy
from agents.runs.prompts import load_prompts
from agents.runs.rewards import load_reward
from benchmarks import command_line, smallest_turns
from benchmarks.cells import Cells
from benchmarks.figures import Figure, figure, write_result
from benchmarks.smallest_turns import sb3_figures

BEST_OF = 8
GOAL = 0.95
QUICK = {"total_episodes": 256, "eval_episodes": 64}
NO_TURNS = {
    "responder": None,
    "max_response_tokens": None,
    "max_turn_tokens": None,
    "max_turns": None,
}
WAYS: Mapping[str, Mapping[str, Any]] = {"with the tool": {}, "without the tool": NO_TURNS}
"""What differs from the preset."""


def config_of(way: str, seed: int, sizes: Mapping[str, Any], runs: Path) -> FineTuning:
    """Returns a run: the preset but for what the way says."""
    config = dataclasses.replace(CALCULATOR.preset, **{**WAYS[way], **sizes})
    algorithm = dataclasses.replace(config.algorithm, seed=seed)
    name = "-".join([*re.findall(r"\w+", way), f"seed{seed}"])
    return dataclasses.replace(config, algorithm=algorithm, output=runs, name=name)


def trained(config: FineTuning) -> dict[str, Any]:
    """Returns the summary of a run, which is carried out or gone on with if it must be."""
    folder = config.output / str(config.name)
    if folder.exists():
        pipeline.resume(folder)
    else:
        pipeline.run(CALCULATOR.name, config)
    return dict(json.loads((folder / "summary.json").read_text(encoding="utf-8")))


def best_of(config: FineTuning) -> dict[str, Any]:
    """Returns how often one of several texts of the starting model is right."""
    policy, tokenizer = load_policy(config)
    envs = make_envs(
        config,
        load_prompts(config.prompts, run_console()).eval_prompts,
        tokenizer,
        policy.end_of_text_ids,
        BEST_OF * 32,
        load_reward(config.reward),
        responder=load_responder(config.responder, policy.device),
        group_size=BEST_OF,
    )
    found = BestOfN(policy, BEST_OF).evaluate(
        policy.frozen_copy(), envs, config.eval_episodes, seed=config.algorithm.seed
    )
    return dict(found.figures)


def figures_of(
    way: str, summaries: list[Mapping[str, Any]], goal: float | None = None
) -> list[Figure]:
    """Returns what came of a way, over seeds."""

    def note(when: str) -> str:
        widths = [one[f"reward_half_width_{when}"] for one in summaries]
        return f"of one seed, ± {max(widths):.3f} (95 %)"

    def of(name: str) -> list[float]:
        return [float(one[name]) for one in summaries]

    return [
        figure(f"{way}: starting model", of("reward_before"), "right", note=note("before")),
        figure(f"{way}: tuned", of("reward_after"), "right", at_least=goal, note=note("after")),
        figure(f"{way}: learning", of("seconds"), "s"),
    ]


def main() -> None:
    """Carries out the runs, and writes figures."""
    parser = command_line.parser(__doc__, repeats=3, quick_repeats=1)
    parser.add_argument("--ways", nargs="*", choices=[*WAYS], default=[*WAYS])
    parser.add_argument("--sb3", action="store_true", help="the smallest version alone")
    parser.add_argument("--runs", type=Path, default=Path("runs/calculator"))
    options = command_line.parse(parser)
    sizes = {**(QUICK if options.quick else {}), "threads": options.threads}
    seeds = range(options.seed, options.seed + options.repeats)
    cells = Cells(options.runs / "cells.jsonl")
    if options.sb3:
        task = smallest_turns.CALCULATOR
        figures = sb3_figures(task, cells, seeds, quick=options.quick)
        settings = {"texts": task.texts[options.quick], "quick": options.quick}
        write_result(
            "calculator_sb3", figures, seed=options.seed, settings=settings, folder=options.output
        )
        return

    def over_seeds(way: str, name: str, measure: Callable[[FineTuning], Any]) -> list[Any]:
        configs = [config_of(way, seed, sizes, options.runs) for seed in seeds]
        keys = [{"measure": name, "config": _plain(one)} for one in configs]
        pairs = zip(keys, configs, strict=True)
        return [cells.found(key, partial(measure, config)) for key, config in pairs]

    figures = []
    for way in options.ways:
        goal = GOAL if way == "with the tool" else None
        figures += figures_of(way, over_seeds(way, "trained", trained), goal)
    best = over_seeds("with the tool", f"best of {BEST_OF}", best_of)
    right = [one["reward"] for one in best]
    figures.append(figure(f"with the tool: best of {BEST_OF}", right, "right"))
    settings = {"texts": CALCULATOR.preset.total_episodes, "quick": options.quick}
    write_result("calculator", figures, seed=options.seed, settings=settings, folder=options.output)


def _plain(config: FineTuning) -> dict[str, Any]:
    """Returns a config in values that JSON can hold."""
    return dict(json.loads(json.dumps(dataclasses.asdict(config), default=str)))


if __name__ == "__main__":
    main()
