"""One table of everything on the dialogue model: `python benchmarks/evaluation_table.py`.

The untouched model, SFT and DPO on its own texts as the reward labels them, a model tuned on
another task, best-of-n, and every algorithm but TRPO at the same number of replies, each with the
settings of its preset and one seed: what a small budget makes of them, not which is best. Evaluated
as `python -m agents.evaluate` does it, whose report is written too.

Runs are kept in a folder: finished ones are not run again, and one that was killed is resumed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import torch

from agents import Rollout, collect_rollout
from agents.algorithms.configs.dpo import DPOConfig
from agents.algorithms.configs.names import ALGORITHMS
from agents.algorithms.configs.sft import SFTConfig
from agents.algorithms.labelled import group_rows
from agents.applications.dialogue import DIALOGUE
from agents.evaluation.comparison import Comparison
from agents.policy.config import PolicyConfig
from agents.rollout.groups import reported_groups
from agents.runs import evaluating, offline_pipeline, pipeline
from agents.runs.console import run_console
from agents.runs.environments import make_envs
from agents.runs.evaluating_options import Evaluating
from agents.runs.going_on import SUMMARY
from agents.runs.models import load_language_model
from agents.runs.offline_presets import DPORun, SFTRun
from agents.runs.prompts import load_prompts
from agents.runs.rewards import load_reward
from benchmarks import command_line
from benchmarks.figures import Figure, figure, write_result

BETA, GROUP_SIZE = 0.05, 4
EPISODES, EVALUATED, OPTIMUM_TEXTS = (2_048, 256), (256, 8), (64, 8)
"""Replies to learn from, replies evaluated, and texts of the optimum; and under `--quick`."""
OTHER_TASK = "word_count"
"""What the transferred model was paid for."""
LEFT_OUT = ("sb3-ppo", "trpo")
"""Algorithms whose policies are no language models, or whose updates take minutes each here."""


def write_texts(episodes: int, seed: int) -> Rollout:
    """Returns texts of the untouched model to prompts of training, in groups of one prompt."""
    config = DIALOGUE.preset
    split = load_prompts(config.prompts, run_console())
    policy, tokenizer = load_language_model(config.model, PolicyConfig(value_network="none"))
    words = (tokenizer, policy.end_of_text_ids)
    envs = make_envs(
        config, split.train, *words, 256, load_reward(config.reward), group_size=GROUP_SIZE
    )
    return collect_rollout(policy, envs, episodes, torch.Generator().manual_seed(seed), seed=seed)


def write_data(folder: Path, episodes: int, seed: int) -> tuple[Path, Path]:
    """Writes what SFT and DPO learn from: the best of each group, and it against the worst."""
    files = folder / "demonstrations.jsonl", folder / "preferences.jsonl"
    if all(file.is_file() for file in files):
        return files
    folder.mkdir(parents=True, exist_ok=True)
    written = write_texts(episodes, seed)
    demonstrations, preferences = [], []
    for rows in group_rows(reported_groups(written)):
        scores = written.scores[rows]
        best, worst = (
            written.infos[int(row)]["text_episode"]
            for row in (rows[scores.argmax()], rows[scores.argmin()])
        )
        demonstrations.append({"prompt": best.prompt, "completion": best.completion})
        if scores.max() > scores.min():
            row = {"chosen": best.completion, "rejected": worst.completion}
            preferences.append({"prompt": best.prompt, **row})
    for file, lines in zip(files, (demonstrations, preferences), strict=True):
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return files


def carried_out(folder: Path, start: Callable[[], object]) -> str:
    """Starts a run unless its folder exists, and goes on with it unless it is finished."""
    if not folder.exists():
        start()
    elif not (folder / SUMMARY).is_file():
        resume = offline_pipeline.resume if folder.name in ("sft", "dpo") else pipeline.resume
        resume(folder)
    return str(folder)


def learnt_from_files(runs: Path, episodes: int, seed: int) -> list[str]:
    """Returns the runs of SFT and DPO."""
    demonstrations, preferences = write_data(runs / "data", episodes, seed)
    policy = PolicyConfig(value_network="none")
    where = {"model": DIALOGUE.preset.model, "output": runs, "policy": policy, "threads": 1}
    sft = SFTRun(
        data=demonstrations,
        name="sft",
        algorithm=SFTConfig(learning_rate=1e-4, n_epochs=2, seed=seed),
        **where,
    )
    dpo = DPORun(
        data=preferences,
        name="dpo",
        algorithm=DPOConfig(learning_rate=1e-5, kl_coef=BETA, seed=seed),
        **where,
    )
    return [
        carried_out(runs / "sft", lambda: offline_pipeline.run(sft)),
        carried_out(runs / "dpo", lambda: offline_pipeline.run(dpo)),
    ]


def learnt_by_reward(runs: Path, episodes: int, seed: int) -> list[str]:
    """Returns the run on another task, and those of every algorithm."""
    found = []
    for name in ("transfer", *(one for one in ALGORITHMS if one not in LEFT_OUT)):
        preset = DIALOGUE.preset if name == "transfer" else DIALOGUE.with_algorithm(name)
        algorithm = dataclasses.replace(preset.algorithm, seed=seed, kl_coef=BETA)
        config = dataclasses.replace(
            preset,
            algorithm=algorithm,
            reward=OTHER_TASK if name == "transfer" else preset.reward,
            total_episodes=episodes,
            eval_episodes=64,  # what counts is evaluated together, in the end
            output=runs,
            name=name,
            threads=1,
        )
        run = carried_out(runs / name, lambda config=config: pipeline.run(DIALOGUE.name, config))
        found.append(run)
    return found


def figures_of(found: Comparison, runs: Path) -> list[Figure]:
    """Returns what the table says of each policy."""
    figures = []
    for name, one in found.figures.items():
        for measured, unit in (("reward", ""), ("kl", "nats"), ("objective", "")):
            half_width = one[f"{measured}_half_width"]
            figures.append(_within(f"{name}: {measured}", one[measured], half_width, unit))
        figures.append(_within(f"{name}: regret", *found.regrets[name], "of the gap"))
        if (runs / name / SUMMARY).is_file():
            summary = json.loads((runs / name / SUMMARY).read_text(encoding="utf-8"))
            figures.append(figure(f"{name}: learning", summary["seconds"], "s"))
    return [dataclasses.replace(figures[0], note=_INTERVALS), *figures[1:]]


def _within(name: str, value: float, half_width: float, unit: str) -> Figure:
    """Returns a figure with the ends of its interval in place of the range."""
    ends = {"lowest": value - half_width, "highest": value + half_width}
    return dataclasses.replace(figure(name, value, unit), **ends)


_INTERVALS = (
    "here and below, lowest and highest are the ends of 95 % intervals over prompts; regret is "
    "rather low, because the optimum is estimated from few texts; seconds are of a busy machine"
)


def main() -> None:
    """Carries out the runs, evaluates them, and writes figures and the report."""
    parser = command_line.parser(__doc__, repeats=1, quick_repeats=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/evaluation-table"))
    options = command_line.parse(parser)
    sizes = (EPISODES, EVALUATED, OPTIMUM_TEXTS)
    episodes, evaluated, texts = (one[options.quick] for one in sizes)
    runs = options.runs
    models = [
        DIALOGUE.preset.model,
        *learnt_from_files(runs, episodes, options.seed),
        *learnt_by_reward(runs, episodes, options.seed),
    ]
    config = Evaluating(
        models=tuple(models),
        prompts=DIALOGUE.preset.prompts,
        reward=DIALOGUE.preset.reward,
        kl_coef=BETA,
        eval_episodes=evaluated,
        best_of=GROUP_SIZE,
        optimum_texts=texts,
        seed=options.seed,
        output=runs / "report",
        threads=options.threads,
    )
    found = evaluating.run(config)
    settings = {"beta": BETA, "episodes": episodes, "replies": evaluated, "optimum_texts": texts}
    write_result(
        "evaluation_table",
        figures_of(found, runs),
        seed=options.seed,
        settings=settings,
        folder=options.output,
    )


if __name__ == "__main__":
    main()
