"""Measure whole PPO against TRL's: `python benchmarks/whole_ppo_trl.py --trl-python PATH`.

PATH is an interpreter that has trl 1.12.0, the last release with a PPO trainer (`make bench-trl`
builds one). The toy of `benchmarks/toy.py` with completions of 16 tokens, the same model with the
same initial weights, and TRL's settings in both: fixed KL price, k1, clipped values, no clipping of
gradients, advantages whitened over the batch, a learning rate that falls linearly.

TRL trains a value network of its own; ours is measured with the value head on the shared trunk (the
default) and with a separate value network. Whole runs take turns, seed by seed, and what each has
learnt at the end, after as many episodes, stands beside its speed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.callbacks import Callback
from agents.policy.config import PolicyConfig
from benchmarks import command_line, toy
from benchmarks.figures import ROOT, Figure, figure, write_result

LENGTH = 16
GOAL = 6.0
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}
SHARED, SEPARATE, TRL = "ours, shared trunk", "ours, separate value network", "TRL's PPO"
OURS = {
    SHARED: PolicyConfig(value_network="shared"),
    SEPARATE: PolicyConfig(value_network="separate"),
}


class Run(NamedTuple):
    """Holds what a whole run did.

    Attributes:
        tokens_per_second: From the end of the first update, which warms up, to that of the last.
        final_score: Mean score of the last tenth of the updates.
    """

    tokens_per_second: float
    final_score: float

    @classmethod
    def of(cls, times: Sequence[float], scores: Sequence[float]) -> Run:
        """Summarises the time at the end of every update, in seconds, and its mean score."""
        tokens = toy.EPISODES * LENGTH * (len(times) - 1)
        last = scores[-max(1, len(scores) // 10) :]
        return cls(tokens / (times[-1] - times[0]), statistics.fmean(last))


class Recorder(Callback):
    """Keeps the time and the mean score of every update."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.scores: list[float] = []

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        """Takes note of an update."""
        self.times.append(perf_counter())
        self.scores.append(metrics["rollout/score_mean"])
        return True


def parity_config(minibatches: int, kl_coef: float, seed: int) -> PPOConfig:
    """Returns TRL's settings in ours."""
    return PPOConfig(
        learning_rate=toy.LEARNING_RATE,
        lr_schedule="linear",
        adam_epsilon=1e-5,
        n_episodes=toy.EPISODES,
        n_epochs=toy.EPOCHS,
        batch_size=toy.EPISODES // minibatches,
        gamma=1.0,
        gae_lambda=0.95,
        clip_range=0.2,
        clip_range_vf=0.2,
        vf_coef=0.1,
        max_grad_norm=1e30,  # TRL does not clip here
        kl_coef=kl_coef,
        seed=seed,
    )


def our_run(updates: int, config: PPOConfig, options: PolicyConfig) -> Run:
    """Trains the toy with our PPO."""
    recorder = Recorder()
    policy = toy.toy_policy(LENGTH, config.seed, options)
    agent = PPO(policy, toy.toy_envs(LENGTH), config, callbacks=[recorder])
    agent.learn(updates * toy.EPISODES)
    return Run.of(recorder.times, recorder.scores)


def trl_run(python: Path, updates: int, config: PPOConfig) -> tuple[Run, dict[str, str]]:
    """Trains the toy with TRL's PPO, in a process of its own, and returns its versions too.

    Raises:
        RuntimeError: If it fails; says why.
    """
    arguments = {
        "vocab-size": toy.VOCAB_SIZE,
        "layers": toy.LAYERS,
        "width": toy.WIDTH,
        "heads": toy.HEADS,
        "prompt": toy.PROMPT,
        "length": LENGTH,
        "updates": updates,
        "episodes-per-update": config.n_episodes,
        "minibatches": config.n_episodes // config.batch_size,
        "epochs": config.n_epochs,
        "learning-rate": config.learning_rate,
        "kl-coef": config.kl_coef,
        "seed": config.seed,
        "threads": torch.get_num_threads(),
    }
    command = [str(python), str(ROOT / "benchmarks" / "trl_ppo.py")]
    command += [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    process = subprocess.run(
        command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{process.stderr}")
    report = json.loads(process.stdout.splitlines()[-1])
    return Run.of(report["times"], report["scores"]), report["versions"]


def figures(runs: Mapping[str, Sequence[Run]]) -> list[Figure]:
    """Returns the figures of runs, by who ran, in the order in which they took turns."""
    found = []
    for name in OURS:
        pairs = list(zip(runs[name], runs[TRL], strict=True))
        speeds = [ours.tokens_per_second / theirs.tokens_per_second for ours, theirs in pairs]
        scores = [ours.final_score - theirs.final_score for ours, theirs in pairs]
        found += [
            figure(f"{name} / {TRL}", speeds, at_least=GOAL),
            figure(f"{name} − {TRL}: final score", scores, "of 1"),
        ]
    for name, each in runs.items():
        found += [
            figure(name, [run.tokens_per_second for run in each], "tokens/s"),
            figure(f"{name}: final score", [run.final_score for run in each], "of 1"),
        ]
    return found


def main() -> None:
    """Measures, where an interpreter has TRL."""
    parser = command_line.parser(__doc__, repeats=5, quick_repeats=3)
    parser.add_argument("--trl-python", type=Path, help="interpreter of an environment with trl")
    parser.add_argument("--updates", type=int, help="of a run; default 125, under --quick 30")
    parser.add_argument("--minibatches", type=int, default=1, help="per epoch")
    parser.add_argument("--kl-coef", type=float, default=0.001)
    options = command_line.parse(parser)
    if options.trl_python is None:
        print("skipped: no --trl-python; `make bench-trl` builds an environment and passes it")
        return
    updates = options.updates or (30 if options.quick else 125)
    runs, versions = _take_turns(updates, options)
    settings = {
        "episodes": updates * toy.EPISODES,
        "episodes_per_update": toy.EPISODES,
        "epochs": toy.EPOCHS,
        "minibatches": options.minibatches,
        "kl_coef": options.kl_coef,
        "learning_rate": toy.LEARNING_RATE,
    }
    write_result(
        "whole_ppo_trl",
        figures(runs),
        seed=options.seed,
        settings=settings,
        versions={"trl": versions["trl"]},
        folder=options.output,
    )


def _take_turns(
    updates: int, options: argparse.Namespace
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    runs: dict[str, list[Run]] = {SHARED: [], SEPARATE: [], TRL: []}
    versions: dict[str, str] = {}
    for seed in range(options.seed, options.seed + options.repeats):
        config = parity_config(options.minibatches, options.kl_coef, seed)
        for name, network in OURS.items():
            runs[name].append(our_run(updates, config, network))
        theirs, versions = trl_run(options.trl_python, updates, config)
        runs[TRL].append(theirs)
    return runs, versions


if __name__ == "__main__":
    main()
