"""Compare the algorithms on toys with known optima: `python benchmarks/family.py`.

Every learner, with one setting for all toys, on counting up, counting words and sorting letters,
from the same untrained transformer of 1 layer × 32, with the same number of texts to learn from.
What counts is the mean reward of fresh texts afterwards as a share of the optimum, which is 1.

Learners take turns, seed by seed. Writes the figures as JSON and the curves, mean and range over
seeds, as PNG.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from agents import (
    ACER,
    GRPO,
    PPO,
    REINFORCE,
    RLOO,
    TRPO,
    Callback,
    CausalLMPolicy,
    ExpertIteration,
    PolicyConfig,
    TrajectoryBalance,
    collect_rollout,
)
from benchmarks import command_line
from benchmarks.figures import Figure, figure, write_result
from benchmarks.learner import Learner
from benchmarks.tasks import gpt2
from text_gym import TextGenVectorEnv
from text_gym.prompt_sources import GroupedPrompts
from text_gym.tasks import OPTIMAL_RETURN, arguments_of

TOYS = {"CountingUp": "counting up", "WordCount": "word count", "Sorting": "sorting"}
COLOURS = ("#0072B2", "#E69F00", "#009E73")
"""Of Okabe and Ito, which stay apart for the colour-blind."""
LAYERS, WIDTH, HEADS = 1, 32, 2
EPISODES = 51_200, 512
"""To learn from, and under `--quick`."""
JUDGED = 1024
"""Fresh texts of what was learnt."""
REACHED = 0.95
"""Of the optimum: what every learner should reach."""
SHARED: Mapping[str, Any] = {"n_episodes": 256, "batch_size": 64, "kl_coef": 0.0}

_ONE_STEP = {
    "learning_rate": 3e-3,
    "lr_schedule": "constant",
    "n_episodes": 128,
    "batch_size": 128,
    "ent_coef": 0.1,
}
"""Of the plain gradient, which is that of the sampling policy in the first step of an update."""
_DR_GRPO = {"scale_by": "nothing", "aggregation": "constant", "max_tokens": 5, "ent_coef": 0.002}

LEARNERS = (
    Learner("PPO", PPO, {"learning_rate": 1e-3, "n_epochs": 2, "ent_coef": 0.05}),
    Learner("REINFORCE", REINFORCE, _ONE_STEP),
    Learner("REINFORCE++", REINFORCE, {"baseline": "batch_mean", **_ONE_STEP}),
    Learner("RLOO", RLOO, {"learning_rate": 3e-3, "n_epochs": 2, "ent_coef": 0.02}, group_size=8),
    Learner("GRPO", GRPO, {"learning_rate": 3e-3, "n_epochs": 2, "ent_coef": 0.02}, group_size=8),
    Learner("Dr. GRPO", GRPO, {"learning_rate": 3e-3, "n_epochs": 2, **_DR_GRPO}, group_size=8),
    Learner(
        "trajectory balance",
        TrajectoryBalance,
        {"learning_rate": 3e-3, "kl_coef": 0.03},
        group_size=8,
    ),
    Learner(
        "expert iteration",
        ExpertIteration,
        {"learning_rate": 3e-3, "n_epochs": 2, "kl_coef": 0.03},
        group_size=8,
    ),
    Learner(
        "TRPO",
        TRPO,
        {"max_kl": 0.05, "cg_iterations": 10, "n_epochs": 4, "micro_batch_size": 256},
    ),
    Learner(
        "ACER",
        ACER,
        {"learning_rate": 2e-3, "batch_size": 128, "ent_coef": 0.02, "replay_size": 8},
    ),
)


class Run(NamedTuple):
    """Holds what a learner made of a toy.

    Attributes:
        share: Of the optimum, of fresh texts.
        curve: Of the optimum, update by update.
        seconds: Of the processor, for learning.
    """

    share: float
    curve: list[float]
    seconds: float


class Curve(Callback):
    """Keeps the mean reward of every batch."""

    def __init__(self) -> None:
        self.scores: list[float] = []

    def on_update_end(self, agent: Any, metrics: Mapping[str, float]) -> bool:
        """Adds a point."""
        self.scores.append(metrics["rollout/score_mean"])
        return True


def envs_of(toy: str, num_envs: int, group_size: int = 0) -> VectorEnv[Any, Any, Any]:
    """Returns the environments of a toy, whose prompts come in groups if a size is given."""
    task = dict(arguments_of(toy))
    if group_size:
        task["prompts"] = GroupedPrompts(task["prompts"], group_size)
    return TextGenVectorEnv(num_envs, **task, autoreset_mode="Disabled")


def policy_of(envs: VectorEnv[Any, Any, Any], seed: int, options: PolicyConfig) -> CausalLMPolicy:
    """Returns the untrained policy."""
    return gpt2(
        layers=LAYERS,
        width=WIDTH,
        heads=HEADS,
        vocab_size=int(envs.single_action_space.n),  # type: ignore[attr-defined]
        max_length=envs.single_observation_space["input_ids"].shape[0],  # type: ignore[index]
        seed=seed,
        options=options,
    )


def run(toy: str, learner: Learner, seed: int, episodes: int) -> Run:
    """Trains one learner on one toy, and has it write texts that it is judged by."""
    config, curve = learner.config(**SHARED, seed=seed), Curve()
    envs = envs_of(toy, config.n_episodes, learner.group_size)
    policy = policy_of(envs, seed, learner.options(config))
    agent = learner.agent(policy, envs, config, callbacks=[curve])
    start = process_time()  # the machine may be busy with something else
    agent.learn(episodes)
    seconds = process_time() - start
    shares = [score / OPTIMAL_RETURN for score in curve.scores]
    return Run(share_of(policy, toy, seed), shares, seconds)


def share_of(policy: CausalLMPolicy, toy: str, seed: int) -> float:
    """Returns the mean reward of fresh texts, as a share of the optimum."""
    generator = torch.Generator().manual_seed(seed)
    fresh = collect_rollout(policy, envs_of(toy, 256), JUDGED, generator, seed=seed)
    return fresh.scores.mean().item() / OPTIMAL_RETURN


Runs = Mapping[tuple[str, str], Sequence[Run]]
"""By toy and learner."""


def figures_of(runs: Runs) -> list[Figure]:
    """Returns how far each learner came on each toy, and how long it took on all of them."""
    found = []
    for toy, title in TOYS.items():
        for learner in LEARNERS:
            shares = [one.share for one in runs[toy, learner.name]]
            found.append(
                figure(f"{title}: {learner.name}", shares, "of the optimum", at_least=REACHED)
            )
    for learner in LEARNERS:
        each = zip(*(runs[toy, learner.name] for toy in TOYS), strict=True)
        seconds = [sum(one.seconds for one in toys) for toys in each]
        found.append(figure(f"{learner.name}: all toys, processor time", seconds, "s"))
    return found


def draw(runs: Runs, episodes: int, path: Path) -> None:
    """Draws a row of panels, a learner each, with the curve of every toy in it."""
    from matplotlib.figure import Figure as Picture

    columns = 5
    picture = Picture(figsize=(12, 5.2), layout="constrained")
    panels = picture.subplots(-(-len(LEARNERS) // columns), columns, sharex=True, sharey=True)
    for axes in panels.flat[len(LEARNERS) :]:
        axes.set_visible(False)
    for axes, learner in zip(panels.flat, LEARNERS, strict=False):
        for (toy, title), colour in zip(TOYS.items(), COLOURS, strict=False):
            curves = np.array([one.curve for one in runs[toy, learner.name]])
            places = np.linspace(0, episodes, curves.shape[1])
            axes.fill_between(
                places, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.2, linewidth=0
            )
            axes.plot(places, curves.mean(axis=0), color=colour, linewidth=1.5, label=title)
        axes.axhline(REACHED, color="0.35", linewidth=1, linestyle=":")
        axes.set_title(learner.name, loc="left", fontsize=10)
        axes.set_ylim(0, 1.05)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    picture.legend(
        *panels.flat[0].get_legend_handles_labels(),
        loc="outside upper right",
        ncols=3,
        frameon=False,
    )
    picture.supxlabel("texts learnt from", fontsize=10)
    picture.supylabel("mean reward, share of the optimum", fontsize=10)
    picture.savefig(path, dpi=130)


def main() -> None:
    """Trains all learners on all toys, and writes figures and curves."""
    parser = command_line.parser(__doc__, repeats=3, quick_repeats=1)
    options = command_line.parse(parser)
    episodes = EPISODES[options.quick]
    runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for seed in range(options.seed, options.seed + options.repeats):
        for toy in TOYS:
            for learner in LEARNERS:
                one = run(toy, learner, seed, episodes)
                runs[toy, learner.name].append(one)
                print(
                    f"{toy}, {learner.name}, seed {seed}: {one.share:.3f}, {one.seconds:.1f} s",
                    flush=True,
                )
    settings = {
        "episodes": episodes,
        "seeds": options.repeats,
        "model": f"GPT-2 {LAYERS} x {WIDTH}, untrained",
        **{one.name: {**SHARED, **one.settings} for one in LEARNERS},
    }
    result = write_result(
        "family", figures_of(runs), seed=options.seed, settings=settings, folder=options.output
    )
    draw(runs, episodes, result.with_suffix(".png"))


if __name__ == "__main__":
    main()
