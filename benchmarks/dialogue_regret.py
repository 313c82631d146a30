"""Judge the main job by its distance from the optimum: `python benchmarks/dialogue_regret.py`.

The optimum of E[R] − β·KL is estimated from texts of the untouched model to prompts held out, with
a bootstrap interval. The preset is run as the command line runs it, for each budget and seed, and
its objective on held-out prompts read from the run's summary. With J₀ the untouched model's and J*
the optimum, the regret is (J* − J)/(J* − J₀).

Runs are kept in a folder: finished ones are not run again, and one that was killed is resumed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents import collect_rollout
from agents.applications.dialogue import DIALOGUE
from agents.applications.fine_tuning import FineTuning
from agents.evaluation.sampled_optimum import Optimum, Scores, best_of, kl_of_best_of, optimum
from agents.rollout.buffer import Rollout
from agents.runs import pipeline
from agents.runs.console import run_console
from agents.runs.environments import make_envs
from agents.runs.models import load_policy
from agents.runs.prompts import load_prompts
from agents.runs.rewards import load_reward
from agents.runs.saved_config import anchored
from benchmarks import command_line
from benchmarks.figures import Figure, figure, write_result
from text_gym.feedback.proportion import Interval

BETA = 0.05
BUDGETS = {"three minutes": 16_384, "ten minutes": 49_152, "an hour": 262_144}
"""Episodes to learn from, by about what they take on one thread."""
WANTED = {"three minutes": 0.60, "ten minutes": 0.69, "an hour": 0.72}
"""Objectives that the preset should reach."""
PROMPTS, TEXTS = (48, 8), (512, 32)
"""Held-out prompts and the reference's texts to each; and under `--quick`."""
BEST_OF = (4, 8, 16, 32)


def reference_scores(config: FineTuning, n_prompts: int, n_texts: int, seed: int) -> Scores:
    """Returns rewards of the untouched model's texts to held-out prompts, (n_prompts, n_texts)."""
    rollout = reference_texts(config, n_prompts, n_texts, seed)
    groups = np.array([int(info["group_id"]) for info in rollout.infos])
    scores = rollout.scores.double().numpy()
    return np.stack([scores[groups == group] for group in np.unique(groups)])


def reference_texts(config: FineTuning, n_prompts: int, n_texts: int, seed: int) -> Rollout:
    """Returns what the untouched model writes to some held-out prompts, as groups of `n_texts`."""
    split = load_prompts(config.prompts, run_console())
    policy, tokenizer = load_policy(config)
    np_random = np.random.default_rng(seed)
    chosen = np_random.choice(len(split.eval_prompts), n_prompts, replace=False)
    prompts = [split.eval_prompts[number] for number in chosen]
    envs = make_envs(
        config,
        prompts,
        tokenizer,
        policy.end_of_text_ids,
        min(512, n_prompts * n_texts),
        load_reward(config.reward),
        group_size=n_texts,
    )
    generator = torch.Generator().manual_seed(seed)
    return collect_rollout(policy, envs, n_prompts * n_texts, generator, seed=seed)


def carried_out(budget: str, seed: int, runs: Path, episodes: int) -> dict[str, Any]:
    """Returns the summary of a run, which is carried out or gone on with if it must be."""
    name = f"{budget.replace(' ', '-')}-seed{seed}"
    folder = runs / name
    if folder.exists():
        pipeline.resume(folder)
    else:
        preset = DIALOGUE.preset
        algorithm = dataclasses.replace(preset.algorithm, seed=seed, kl_coef=BETA)
        pipeline.run(
            DIALOGUE.name,
            dataclasses.replace(
                preset, algorithm=algorithm, total_episodes=episodes, output=runs, name=name
            ),
        )
    return dict(json.loads((folder / "summary.json").read_text(encoding="utf-8")))


def regret(objective: float, best: Optimum, start: float) -> float:
    """Returns the share of what could be gained that was not."""
    return (best.objective.value - objective) / (best.objective.value - start)


def reference_figures(scores: Scores, best: Optimum) -> list[Figure]:
    """Returns what is known before anything is learnt."""
    start = float(scores.mean())
    note = f"{best.doubtful} of {len(scores)} prompts rest on fewer than 10 texts"
    found = [
        figure("reference: objective", start, ""),
        _within(figure("optimum: objective", best.objective.value, "", note=note), best.objective),
        figure("optimum: expected reward", best.expected_reward, ""),
        figure("optimum: KL", best.kl, "nats"),
        figure("optimum: median effective sample size", float(np.median(best.effective)), "texts"),
    ]
    for n in BEST_OF:
        objective = best_of(scores, n) - BETA * kl_of_best_of(n)
        note = f"regret at most {regret(objective, best, start):.3f}; KL is at most its bound"
        found.append(figure(f"best of {n}: objective, at least", objective, "", note=note))
    return found


def _within(one: Figure, interval: Interval) -> Figure:
    return dataclasses.replace(one, lowest=interval.low, highest=interval.high)


def budget_figures(
    budget: str, summaries: Sequence[dict[str, Any]], best: Optimum, start: float
) -> list[Figure]:
    """Returns what the preset made of a budget, over seeds."""
    objectives = [summary["objective_after"] for summary in summaries]
    regrets = [regret(objective, best, start) for objective in objectives]
    others = {"reward": "", "kl": "nats"}
    return [
        figure(f"{budget}: objective", objectives, "", at_least=WANTED[budget]),
        figure(f"{budget}: regret", regrets, "of the gap"),
        *(
            figure(f"{budget}: {name}", [one[f"{name}_after"] for one in summaries], unit)
            for name, unit in others.items()
        ),
        figure(f"{budget}: learning", [one["seconds"] for one in summaries], "s"),
    ]


def main() -> None:
    """Estimates the optimum, carries out the runs, and writes figures."""
    parser = command_line.parser(__doc__, repeats=3, quick_repeats=1)
    parser.add_argument("--budget", choices=BUDGETS, nargs="*", default=["three minutes"])
    parser.add_argument("--runs", type=Path, default=Path("runs/dialogue-regret"))
    options = command_line.parse(parser)
    config = anchored(DIALOGUE.preset)
    sizes = PROMPTS[options.quick], TEXTS[options.quick]
    scores = reference_scores(config, *sizes, options.seed)
    best = optimum(scores, BETA)
    figures, start = reference_figures(scores, best), float(scores.mean())
    for budget in options.budget:
        episodes = 512 if options.quick else BUDGETS[budget]
        seeds = range(options.seed, options.seed + options.repeats)
        summaries = [carried_out(budget, seed, options.runs, episodes) for seed in seeds]
        figures += budget_figures(budget, summaries, best, start)
    settings = {"beta": BETA, "prompts": sizes[0], "texts": sizes[1], "budgets": BUDGETS}
    write_result(
        "dialogue_regret", figures, seed=options.seed, settings=settings, folder=options.output
    )


if __name__ == "__main__":
    main()
