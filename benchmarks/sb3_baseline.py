"""Compare learning curves with Stable-Baselines3's PPO: `python benchmarks/sb3_baseline.py`.

Three learners on two toys: our PPO, and SB3's with an MLP on one-hots and with the same transformer
as features extractor. All start from the same distribution, the transformers from the same weights,
with the same hyperparameters, and learn from as many episodes per update, on average, in as many
optimiser steps. `agents.sb3_baseline` says what differs all the same.

- `TextGen-v0`: one point per word, at most 20, from a policy that ends with probability 0.2 at
  every token. SB3 has 16 environments instead of 64, so that most texts end within an update.
- Counting up: V = 32, prompts of 4 numbers, 16 tokens, paid the share that is one more, modulo V,
  than the token before; untrained.

Learners take turns, seed by seed. Seconds are those of the learner: of collecting, judging and
learning, the writing of curves left out. Writes the figures as JSON, every update of every run as
CSV, and the curves, mean and 95 % interval over seeds (Student's t), as PNG.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.applications.toy_policy import toy_policy
from agents.callbacks import Callback
from agents.policy.causal_lm import CausalLMPolicy
from agents.sb3_baseline.agent import SB3PPO
from benchmarks import command_line
from benchmarks.figures import Figure, figure, write_result
from benchmarks.tasks import CountingUp, Numbers, counting_prompts, gpt2, make_envs

VOCAB_SIZE, PROMPT, LENGTH = 32, 4, 16
OURS, MLP, TRANSFORMER = "our PPO", "SB3 PPO, MLP", "SB3 PPO, transformer"
NETWORKS: dict[str, Any] = {MLP: "mlp", TRANSFORMER: "transformer"}
LEARNERS = (OURS, MLP, TRANSFORMER)
REACHED = 0.9
"""Of the optimum: what a learner needs episodes and seconds for."""
STUDENT_T = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5 % quantile by degrees of freedom; more seeds than ten are given that of ten."""
FEWEST_SEEDS = 3
"""For which an interval is drawn: that of two would span the picture."""


class Toy(NamedTuple):
    """Says what is learnt.

    Attributes:
        unit: Of the reward.
        optimum: The best mean reward.
        policy: Returns the start, by seed.
        envs: Returns environments, by their number.
        sb3_envs: Environments of SB3; ours has one for every episode of an update.
        mean_length: Of the first texts, in tokens.
        episodes: To learn from, and under `--quick`.
    """

    unit: str
    optimum: float
    policy: Callable[[int], CausalLMPolicy]
    envs: Callable[[int], Any]
    sb3_envs: int
    mean_length: float
    episodes: tuple[int, int]


class Point(NamedTuple):
    """Holds one update of one run: where its curve stands."""

    toy: str
    learner: str
    seed: int
    episodes: int
    seconds: float
    score: float


class Curve(Callback):
    """Keeps where a run stands after every update."""

    def __init__(self, toy: str, learner: str, seed: int) -> None:
        self.points: list[Point] = []
        self._run = toy, learner, seed
        self._seconds = 0.0

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        """Adds a point."""
        self._seconds += metrics["time/total"]
        score = metrics["rollout/score_mean"]
        self.points.append(Point(*self._run, agent.n_episodes, self._seconds, score))
        return True


def text_gen_envs(num_envs: int) -> Any:
    """Returns `TextGen-v0` as it stands."""
    return gym.make_vec("text_gym:TextGen-v0", num_envs=num_envs, autoreset_mode="Disabled")


def counting_envs(num_envs: int) -> Any:
    """Returns environments for counting up."""
    return make_envs(
        num_envs,
        ends=False,
        prompts=counting_prompts(VOCAB_SIZE, PROMPT),
        tokenizer=Numbers(VOCAB_SIZE),
        reward_function=CountingUp(VOCAB_SIZE, LENGTH),
        max_new_tokens=LENGTH,
    )


TOYS = {
    "TextGen-v0": Toy(
        unit="words per text",
        optimum=20.0,
        policy=lambda seed: toy_policy(33, 32, length=24, eos_probability=0.2, seed=seed),
        envs=text_gen_envs,
        sb3_envs=16,
        mean_length=4.9,
        episodes=(1536, 512),
    ),
    "counting up": Toy(
        unit="share of tokens that are right",
        optimum=1.0,
        policy=lambda seed: gpt2(
            layers=2,
            width=64,
            heads=2,
            vocab_size=VOCAB_SIZE,
            max_length=PROMPT + LENGTH,
            seed=seed,
        ),
        envs=counting_envs,
        sb3_envs=64,
        mean_length=float(LENGTH),
        episodes=(4096, 512),
    ),
}


def config_of(seed: int) -> PPOConfig:
    """Returns the hyperparameters of all learners."""
    return PPOConfig(
        learning_rate=3e-3, n_episodes=64, batch_size=32, n_epochs=4, kl_coef=0.0, seed=seed
    )


def run(name: str, learner: str, seed: int, episodes: int) -> list[Point]:
    """Trains one learner on one toy and returns its curve."""
    toy, config, curve = TOYS[name], config_of(seed), Curve(name, learner, seed)
    agent: PPO | SB3PPO
    if learner == OURS:
        envs = toy.envs(config.n_episodes)
        agent = PPO(toy.policy(seed), envs, config, callbacks=[curve])
    else:
        agent = SB3PPO(
            NETWORKS[learner],
            toy.policy(seed),
            toy.envs(toy.sb3_envs),
            config,
            mean_length=toy.mean_length,
            callbacks=[curve],
        )
    with torch.random.fork_rng():  # SB3 draws from the global random states
        agent.learn(episodes)
    return curve.points


def curves_of(points: Sequence[Point], toy: str, learner: str) -> list[list[Point]]:
    """Returns the points of a learner on a toy, run by run."""
    chosen = [point for point in points if (point.toy, point.learner) == (toy, learner)]
    seeds = dict.fromkeys(point.seed for point in chosen)
    return [[point for point in chosen if point.seed == seed] for seed in seeds]


def when_reached(curve: Sequence[Point], threshold: float) -> Point | None:
    """Returns the first point from which the mean of three updates is at the threshold."""
    scores = [point.score for point in curve]
    for index in range(len(curve) - 2):
        if np.mean(scores[index : index + 3]) >= threshold:
            return curve[index + 2]
    return None


def figures_of(points: Sequence[Point], toy: str) -> list[Figure]:
    """Returns how good each learner became on a toy, and what it needed."""
    found = []
    for learner in LEARNERS:
        curves = curves_of(points, toy, learner)
        last = [float(np.mean([point.score for point in curve[-3:]])) for curve in curves]
        found.append(figure(f"{toy}: {learner}: final score", last, TOYS[toy].unit))
        speed = [curve[-1].episodes / curve[-1].seconds for curve in curves]
        found.append(figure(f"{toy}: {learner}: speed", speed, "episodes/s"))
        reached = [when_reached(curve, REACHED * TOYS[toy].optimum) for curve in curves]
        there = [point for point in reached if point is not None]
        note = f"{len(there)} of {len(curves)} runs reached {REACHED:.0%} of the optimum"
        if there:
            name = f"{toy}: {learner}: to {REACHED:.0%} of the optimum"
            episodes = [float(point.episodes) for point in there]
            seconds = [point.seconds for point in there]
            found.append(figure(f"{name}, episodes", episodes, "episodes", note=note))
            found.append(figure(f"{name}, seconds", seconds, "s", note=note))
    return found


def band(
    curves: Sequence[Sequence[Point]], axis: str, *, logarithmic: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns places on an axis where all runs are, and the mean and half interval of scores there.

    Args:
        curves: Runs of one learner.
        axis: `episodes` or `seconds`.
        logarithmic: Whether places are evenly spaced by ratio.
    """
    places = [np.array([getattr(point, axis) for point in curve]) for curve in curves]
    first, last = max(each[0] for each in places), min(each[-1] for each in places)
    spaced = np.geomspace if logarithmic else np.linspace
    grid = np.asarray(spaced(first, max(first, last), 200), dtype=np.float64)
    scores = np.array(
        [
            np.interp(grid, each, [point.score for point in curve])
            for each, curve in zip(places, curves, strict=True)
        ]
    )
    if len(scores) == 1:
        return grid, scores[0], np.zeros_like(grid)
    quantile = STUDENT_T[min(len(scores), len(STUDENT_T)) - 1]
    return grid, scores.mean(axis=0), quantile * scores.std(axis=0, ddof=1) / len(scores) ** 0.5


STYLES = {OURS: ("#0072B2", "-"), MLP: ("#E69F00", "--"), TRANSFORMER: ("#CC79A7", "-.")}
"""Colours of Okabe and Ito, which stay apart for the colour-blind, and in grey by their strokes."""


def draw(points: Sequence[Point], path: Path) -> None:
    """Draws reward against episodes and against seconds, toy by toy."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(9.5, 7), layout="constrained")
    grid = picture.subplots(len(TOYS), 2, sharey="row")
    for row, (name, toy) in zip(grid, TOYS.items(), strict=True):
        for axes, axis in zip(row, ("episodes", "seconds"), strict=True):
            _draw_curves(axes, points, name, axis)
            axes.axhline(toy.optimum, color="0.35", linewidth=1, linestyle=":")
            axes.set_ylim(0, 1.08 * toy.optimum)
            axes.set_yticks(np.linspace(0, toy.optimum, 5))
            axes.set_xlabel("episodes" if axis == "episodes" else "seconds of the learner (log)")
        row[0].set_title(name, loc="left", fontweight="bold")
        row[0].set_ylabel(f"mean reward\n({toy.unit})")
        row[0].annotate(
            "optimum",
            xy=(0.99, toy.optimum),
            xycoords=row[0].get_yaxis_transform(),
            xytext=(0, 2),
            textcoords="offset points",
            color="0.35",
            fontsize=9,
            ha="right",
        )
    runs = len(curves_of(points, next(iter(TOYS)), OURS))
    what = "mean and 95 % interval" if runs >= FEWEST_SEEDS else "mean"
    picture.legend(
        *grid[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False
    )
    picture.supxlabel(f"{what}, seeds: {runs}", fontsize=9, color="0.35")
    picture.savefig(path, dpi=150)


def _draw_curves(axes: Any, points: Sequence[Point], toy: str, axis: str) -> None:
    from matplotlib.ticker import StrMethodFormatter

    for learner in LEARNERS:
        colour, stroke = STYLES[learner]
        curves = curves_of(points, toy, learner)
        places, mean, half = band(curves, axis, logarithmic=axis == "seconds")
        if len(curves) >= FEWEST_SEEDS:
            low, high = mean - half, mean + half
            axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(places, mean, stroke, color=colour, linewidth=1.8, label=learner)
    if axis == "seconds":
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def write_points(points: Sequence[Point], path: Path) -> None:
    """Writes every update of every run, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Point._fields)
        for point in points:
            writer.writerow((*point[:4], f"{point.seconds:.3f}", f"{point.score:.4f}"))


def main() -> None:
    """Trains all learners on both toys, and writes figures, points and curves."""
    parser = command_line.parser(__doc__, repeats=5, quick_repeats=2)
    options = command_line.parse(parser)
    points: list[Point] = []
    for name, toy in TOYS.items():
        for seed in range(options.seed, options.seed + options.repeats):
            for learner in LEARNERS:
                points += run(name, learner, seed, toy.episodes[options.quick])
                print(f"{name}, {learner}, seed {seed}: {points[-1].seconds:.1f} s", flush=True)
    found = [one for name in TOYS for one in figures_of(points, name)]
    settings = {
        "seeds": options.repeats,
        "episodes": {name: toy.episodes[options.quick] for name, toy in TOYS.items()},
        "episodes_per_update": config_of(0).n_episodes,
        "epochs": config_of(0).n_epochs,
        "learning_rate": config_of(0).learning_rate,
        "interval": "Student's t over seeds, 95 %",
    }
    result = write_result(
        "sb3_baseline", found, seed=options.seed, settings=settings, folder=options.output
    )
    write_points(points, result.with_suffix(".csv"))
    draw(points, result.with_suffix(".png"))


if __name__ == "__main__":
    main()
