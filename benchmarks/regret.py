"""Judge every algorithm by its exact distance from the optimum: `python benchmarks/regret.py`.

On an enumerable language, for three rewards and five prices β of KL, every learner starts as the
reference and learns from the same number of texts, with one setting for all of them. Then E[R] and
KL of what it learnt are computed by enumeration, and with J = E[R] − β·KL the regret (J* − J)/(J* −
J₀), J* being the optimum and J₀ the reference's. Best-of-n's points are exact too.

Runs are kept one by one in `regret.jsonl`: a benchmark that was killed goes on where it was. Writes
figures as JSON, the frontier as PNG, and prints the table of `docs/regret.md`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

from agents import (
    ACER,
    GRPO,
    PPO,
    REINFORCE,
    RLOO,
    TRPO,
    ExpertIteration,
    TrajectoryBalance,
)
from benchmarks import command_line
from benchmarks.cells import Cells
from benchmarks.enumerable import BETAS, LAYERS, REWARDS, WIDTH, Language, Point
from benchmarks.figures import Figure, figure, write_result
from benchmarks.interquartile import bootstrapped, interval_figure
from benchmarks.learner import Learner, averaged, learnt
from benchmarks.regret_picture import draw

EPISODES = 20_480, 512
"""To learn from, and under `--quick`."""
WANTED = 0.05
"""Regret of the best learner, where a nat costs at least `CHEAPEST`."""
CHEAPEST = 0.05
SHARED: Mapping[str, Any] = {"n_episodes": 256, "batch_size": 128, "learning_rate": 2e-3}

_GROUP = {"n_epochs": 2, "kl_in": "reward"}
_DR_GRPO = {"scale_by": "nothing", "aggregation": "constant", "max_tokens": 5}

LEARNERS = (
    Learner(
        "trajectory balance",
        TrajectoryBalance,
        {
            "learning_rate": 3e-3,
            "n_episodes": 512,
            "replay_size": 40,
            "replay_ratio": 24,
            "target_kl": 1.0,
        },
        group_size=32,
    ),
    Learner(
        "PPO", PPO, {"n_epochs": 2, "gae_lambda": 1.0, "vf_coef": 1.0}, value_network="separate"
    ),
    Learner("REINFORCE", REINFORCE, {"vf_coef": 1.0}, value_network="separate"),
    Learner("REINFORCE++", REINFORCE, {"baseline": "batch_mean"}),
    Learner("RLOO", RLOO, {"n_epochs": 2}, group_size=32),
    Learner("GRPO", GRPO, _GROUP, group_size=32),
    Learner("Dr. GRPO", GRPO, {**_GROUP, **_DR_GRPO}, group_size=32),
    Learner("expert iteration", ExpertIteration, {}, group_size=32),
    Learner(
        "TRPO",
        TRPO,
        {
            "learning_rate": 1e-3,
            "gae_lambda": 1.0,
            "n_episodes": 512,
            "n_epochs": 4,
            "max_kl": 0.005,
            "cg_iterations": 3,
            "micro_batch_size": 512,
        },
        value_network="separate",
    ),
    Learner("ACER", ACER, {"replay_size": 8, "replay_ratio": 2}),
)


class Cell(NamedTuple):
    """Names what is measured at once."""

    reward: str
    beta: float
    learner: str
    seed: int


class Run(NamedTuple):
    """Holds what became of a policy.

    Attributes:
        point: Where it stands, exactly.
        regret: A share of what the reference leaves.
        seconds: Of the processor, for learning.
        stopped: What a health check said; empty where the run came to its end.
    """

    point: Point
    regret: float
    seconds: float
    stopped: str


Runs = Mapping[Cell, Run]


def outcome(language: Language, cell: Cell, learner: Learner, episodes: int) -> dict[str, Any]:
    """Trains one learner, and returns where it stands. One that was stopped is judged as it stood.

    Args:
        language: With the reference and the rewards.
        cell: Which reward, price and seed.
        learner: How to learn.
        episodes: To learn from.
    """
    task, config = language.tasks[cell.reward], config_of(cell, learner)
    policy = language.policy(learner.options(config))
    agent = learner.agent(policy, task.envs(config.n_episodes, learner.group_size), config)
    start = process_time()  # the machine may be busy with something else
    stopped = learnt(agent, episodes)
    seconds = process_time() - start
    with averaged(agent):
        point = task.judge(policy)
    return {**point._asdict(), "seconds": round(seconds, 2), "stopped": stopped}


def config_of(cell: Cell, learner: Learner) -> Any:
    """Returns the hyperparameters."""
    return learner.config(**SHARED, kl_coef=cell.beta, seed=cell.seed)


def key_of(cell: Cell, learner: Learner, episodes: int) -> dict[str, Any]:
    """Returns all that a cell depends on."""
    return {
        **cell._asdict(),
        "episodes": episodes,
        "config": dataclasses.asdict(config_of(cell, learner)),
        "value_network": learner.value_network,
    }


def measure(
    language: Language, cells: Cells, seeds: Sequence[int], betas: Sequence[float], episodes: int
) -> dict[Cell, Run]:
    """Trains all learners for every reward and price, seed by seed."""
    runs = {}
    for seed in seeds:
        for reward, task in language.tasks.items():
            for beta in betas:
                for learner in LEARNERS:
                    cell = Cell(reward, beta, learner.name, seed)
                    found = cells.found(
                        key_of(cell, learner, episodes),
                        partial(outcome, language, cell, learner, episodes),
                    )
                    point = Point(found["expected_reward"], found["kl"])
                    regret = task.regret(point, beta)
                    runs[cell] = Run(point, regret, found["seconds"], found["stopped"])
                    print(*cell, f"regret {regret:.3f}", found["stopped"], flush=True)
    return runs


def table_of(runs: Runs, reward: str, learner: str, betas: Sequence[float]) -> list[list[float]]:
    """Returns regrets of a learner on one reward, a row for each price, (m, n)."""
    return [
        [
            run.regret
            for cell, run in runs.items()
            if (cell.reward, cell.learner, cell.beta) == (reward, learner, beta)
        ]
        for beta in betas
    ]


def best_learner(runs: Runs, betas: Sequence[float]) -> str:
    """Returns the learner whose regret is least on the whole."""

    def overall(name: str) -> float:
        rows = [row for reward in REWARDS for row in table_of(runs, reward, name, betas)]
        return bootstrapped(rows, draws=1).value

    return min((learner.name for learner in LEARNERS), key=overall)


def figures_of(runs: Runs, betas: Sequence[float]) -> list[Figure]:
    """Returns the best learner's regret everywhere, and that of all learners on every reward."""
    judged = [beta for beta in betas if beta >= CHEAPEST]
    best = best_learner(runs, judged)
    figures, share = [], partial(interval_figure, unit="of the gap")
    for reward in REWARDS:
        for beta in betas:
            goal = WANTED if beta in judged else None
            scores = table_of(runs, reward, best, [beta])
            figures.append(share(f"{reward}, β = {beta:g}: {best}", scores, at_most=goal))
    for reward in REWARDS:
        for learner in LEARNERS:
            scores = table_of(runs, reward, learner.name, judged)
            figures.append(share(f"{reward}, β ≥ {CHEAPEST:g}: {learner.name}", scores))
    for learner in LEARNERS:
        seconds = [run.seconds for cell, run in runs.items() if cell.learner == learner.name]
        figures.append(figure(f"{learner.name}: a run, processor time", seconds, "s"))
    return figures


def markdown(runs: Runs, betas: Sequence[float]) -> str:
    """Returns the regret of every learner, in percent, as tables, a reward each."""
    tables = []
    for reward in REWARDS:
        lines = [
            f"| {reward} | {' | '.join(f'β = {beta:g}' for beta in betas)} |",
            f"| --- | {' | '.join('---:' for _ in betas)} |",
        ]
        for learner in LEARNERS:
            rows = [bootstrapped(row) for row in table_of(runs, reward, learner.name, betas)]
            each = (f"{100 * r.value:.1f} ({100 * r.low:.1f}, {100 * r.high:.1f})" for r in rows)
            lines.append(f"| {learner.name} | {' | '.join(each)} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def main() -> None:
    """Trains what has not been trained yet, and writes figures and picture."""
    parser = command_line.parser(__doc__, repeats=5, quick_repeats=1)
    parser.add_argument("--picture", type=Path, help="of the frontier; default: beside the figures")
    parser.set_defaults(threads=1)
    options = command_line.parse(parser)
    episodes, betas = EPISODES[options.quick], BETAS[1::2] if options.quick else BETAS
    language = Language()
    seeds = range(options.seed, options.seed + options.repeats)
    cells = Cells(options.output / "regret.jsonl")
    runs = measure(language, cells, seeds, betas, episodes)
    print(markdown(runs, betas))
    settings = {
        "episodes": episodes,
        "seeds": options.repeats,
        "betas": list(betas),
        "model": f"GPT-2 {LAYERS} x {WIDTH}, trained on the language's source",
        "stopped": sum(bool(run.stopped) for run in runs.values()),
        **{one.name: {**SHARED, **one.settings} for one in LEARNERS},
    }
    result = write_result(
        "regret",
        figures_of(runs, betas),
        seed=options.seed,
        settings=settings,
        folder=options.output,
    )
    points = {
        (reward, learner.name, beta): [
            run.point for cell, run in runs.items() if cell[:3] == (reward, beta, learner.name)
        ]
        for reward in REWARDS
        for learner in LEARNERS
        for beta in betas
    }
    draw(language.tasks, points, options.picture or result.with_suffix(".png"))


if __name__ == "__main__":
    main()
