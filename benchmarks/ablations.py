"""Change PPO's details one at a time: `python benchmarks/ablations.py`.

Two tasks: the enumerable language, where regret is exact, and the toy of counting up, where what is
missing to the optimum is that of fresh texts. Every variant is paired, seed by seed, with PPO as it
is in the benchmark of regret. Runs are kept one by one in `ablations.jsonl`: a benchmark that was
killed goes on where it was.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from agents import PPO, collect_rollout
from benchmarks import command_line, family
from benchmarks.cells import Cells, Plain
from benchmarks.enumerable import Language
from benchmarks.faulty_ppo import DropoutLeftOn, EosAsPadding, FirstToFinish
from benchmarks.figures import Figure, write_result
from benchmarks.interquartile import interval_figure
from benchmarks.learner import Learner, ValueNetwork, averaged, learnt
from text_gym.tasks import OPTIMAL_RETURN

EPISODES = 10_240, 512
"""To learn from, and under `--quick`."""
REWARD, BETA = "sparse", 0.1
"""On the language."""
JUDGED = 4096
"""Fresh texts of counting up."""
SHARED: Mapping[str, Any] = {
    "n_episodes": 256,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "n_epochs": 2,
    "gae_lambda": 1.0,
    "vf_coef": 1.0,
}
TASKS: Mapping[str, Mapping[str, Any]] = {
    "language": {"kl_coef": BETA},
    "counting up": {"kl_coef": 0.0, "ent_coef": 0.05},
}
"""What each asks for, whoever learns it."""


def _variant(
    name: str, algorithm: type[PPO] = PPO, network: ValueNetwork = "separate", **settings: Any
) -> Learner:
    return Learner(name, algorithm, settings, value_network=network)


PLAIN = _variant("PPO as it is")
VARIANTS = (
    _variant("advantages not whitened", normalize_advantage=False),
    _variant("rewards whitened too", whiten_rewards=True),
    _variant("values clipped at 0.2", clip_range_vf=0.2),
    _variant("values on the policy's own trunk", network="shared"),
    _variant("the same, value loss × 0.1", network="shared", vf_coef=0.1),
    _variant("λ = 0.95", gae_lambda=0.95),
    _variant("λ = 0.5", gae_lambda=0.5),
    _variant("λ = 0", gae_lambda=0.0),
    _variant("1 epoch", n_epochs=1),
    _variant("4 epochs", n_epochs=4),
    _variant("8 epochs", n_epochs=8),
    _variant("ratios clipped at 0.05", clip_range=0.05),
    _variant("ratios not clipped", clip_range=0.99, clip_range_high=1e9),
    _variant("learning rate constant", lr_schedule="constant"),
    _variant("gradients not clipped", max_grad_norm=1e9),
    _variant("Adam's ε = 1e-8", adam_epsilon=1e-8),
    _variant("average of the weights, 0.9", ema_decay=0.9),
    _variant("average of the weights, 0.99", ema_decay=0.99),
    _variant("dropout left on", DropoutLeftOn),
    _variant("EOS taken for padding", EosAsPadding),
    _variant("first to finish", FirstToFinish),
)
KL_VARIANTS = tuple(
    _variant(f"KL in the loss, {kind}", kl_in="loss", kl_estimator=kind)
    for kind in ("k1", "k2", "k3", "exact")
)
"""Of the task that has a price of KL."""


def judged_on_language(language: Language, episodes: int, learner: Learner, seed: int) -> Plain:
    """Trains one variant on the language, and returns its exact regret."""
    task = language.tasks[REWARD]
    config = config_of("language", learner, seed)
    policy = language.policy(learner.options(config))
    agent = learner.agent(policy, task.envs(config.n_episodes), config)
    stopped = learnt(agent, episodes)
    with averaged(agent):
        return {"regret": task.regret(task.judge(policy), BETA), "stopped": stopped}


def judged_on_counting_up(episodes: int, learner: Learner, seed: int) -> Plain:
    """Trains one variant to count up, and returns what fresh texts lack."""
    config = config_of("counting up", learner, seed)
    envs = family.envs_of("CountingUp", config.n_episodes)
    policy = family.policy_of(envs, seed, learner.options(config))
    agent = learner.agent(policy, envs, config)
    stopped = learnt(agent, episodes)
    generator = torch.Generator().manual_seed(seed)
    with averaged(agent):
        fresh = collect_rollout(
            policy, family.envs_of("CountingUp", 256), JUDGED, generator, seed=seed
        )
    return {"regret": 1 - fresh.scores.mean().item() / OPTIMAL_RETURN, "stopped": stopped}


def config_of(task: str, learner: Learner, seed: int) -> Any:
    """Returns the hyperparameters."""
    return learner.config(**{**SHARED, **TASKS[task], "seed": seed})


Outcomes = Mapping[tuple[str, str], Sequence[Plain]]
"""By task and variant."""


def measure(cells: Cells, seeds: Sequence[int], episodes: int) -> Outcomes:
    """Trains every variant on every task, seed by seed."""
    judges = {
        "language": partial(judged_on_language, Language([REWARD]), episodes),
        "counting up": partial(judged_on_counting_up, 2 * episodes),
    }
    outcomes = defaultdict(list)
    for seed in seeds:
        for task, judge in judges.items():
            for learner in variants_of(task):
                key = {
                    "task": task,
                    "variant": learner.name,
                    "value_network": learner.value_network,
                    "episodes": episodes,
                    "config": dataclasses.asdict(config_of(task, learner, seed)),
                }
                found = cells.found(key, partial(judge, learner, seed))
                outcomes[task, learner.name].append(found)
                print(f"{task}, {learner.name}, seed {seed}: {found['regret']:.3f}", flush=True)
    return outcomes


def variants_of(task: str) -> tuple[Learner, ...]:
    """Returns what is tried on a task, PPO as it is first."""
    return (PLAIN, *VARIANTS, *(KL_VARIANTS if TASKS[task]["kl_coef"] else ()))


def figures_of(outcomes: Outcomes) -> list[Figure]:
    """Returns what every variant leaves to the optimum, and how much more that is than PPO's."""
    figures = []
    for task in TASKS:
        plain = [one["regret"] for one in outcomes[task, PLAIN.name]]
        for learner in variants_of(task):
            runs = outcomes[task, learner.name]
            stopped = sum(bool(one["stopped"]) for one in runs)
            note = f"{stopped} of {len(runs)} runs were stopped by a health check"
            of = partial(interval_figure, unit="of the gap", note=note if stopped else "")
            regrets = [one["regret"] for one in runs]
            figures.append(of(f"{task}: {learner.name}", regrets))
            if learner is not PLAIN:
                more = [one - other for one, other in zip(regrets, plain, strict=True)]
                figures.append(of(f"{task}: {learner.name} − PPO", more))
    return figures


def markdown(found: Sequence[Figure]) -> str:
    """Returns the figures as a table, a variant each, in percent."""
    known = {one.name: one for one in found}

    def cell(name: str) -> str:
        one = known.get(name)
        if one is None:
            return ""
        return f"{100 * one.value:.1f} ({100 * one.lowest:.1f}, {100 * one.highest:.1f})"

    lines = [
        "| changed | language: regret | more than PPO | counting up: missing | more than PPO |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for learner in variants_of("language"):
        names = [f"{task}: {learner.name}{more}" for task in TASKS for more in ("", " − PPO")]
        lines.append(f"| {learner.name} | {' | '.join(map(cell, names))} |")
    return "\n".join(lines)


def main() -> None:
    """Trains what has not been trained yet, and writes figures."""
    parser = command_line.parser(__doc__, repeats=10, quick_repeats=1)
    parser.set_defaults(threads=1)
    options = command_line.parse(parser)
    episodes = EPISODES[options.quick]
    seeds = range(options.seed, options.seed + options.repeats)
    found = figures_of(measure(Cells(options.output / "ablations.jsonl"), seeds, episodes))
    print(markdown(found))
    settings = {
        "seeds": options.repeats,
        "episodes": {"language": episodes, "counting up": 2 * episodes},
        "PPO": SHARED,
        "tasks": TASKS,
        **{one.name: one.settings for one in (*VARIANTS, *KL_VARIANTS)},
    }
    write_result("ablations", found, seed=options.seed, settings=settings, folder=options.output)


if __name__ == "__main__":
    main()
