"""Measure what a token costs as things grow: `python benchmarks/growth.py`.

GPT-2 of 4 layers × 128 with V = 64 writes 16 texts of 32 tokens, 4 of them the prompt, and learns
them in one epoch; then one thing at a time grows: the text to 2,048 tokens, the model to 134 M
parameters, the texts side by side to 4,096, the vocabulary to 150,000. A rollout and an update are
measured apart, in processor time per new token, with one thread. An update passes at most 64 texts
at once; judging is in neither.

The floor is what products and memory alone would take (`benchmarks.floor`), by the same clock. The
peak of memory is by how much resident memory rises above what the agent holds when it begins; it is
taken in a process whose C library gives freed blocks back (`benchmarks.memory`).

What was measured is kept in `growth.jsonl` beside the result, and not measured again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import torch

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.experience import Experience
from agents.algorithms.ppo import PPO
from benchmarks import command_line, growth_picture
from benchmarks.cells import Cells, Plain
from benchmarks.figures import ROOT, Figure, figure, write_result
from benchmarks.floor import Model, Peaks, decoding, measure_peaks, updating
from benchmarks.growth_picture import PARTS, Curves, Point
from benchmarks.memory import CLEAR_REFS, MALLOC, rise
from benchmarks.tasks import LargeNumbers, Numbers, gpt2, make_envs, random_prompts

PROMPT, LARGEST_PASS = 4, 64
LONG = 5.0
"""Seconds of a round that needs no repetition."""
PICTURE = ROOT / "docs" / "images" / "growth.png"


@dataclass(frozen=True)
class Shape:
    """Says how large everything is.

    Attributes:
        length: Tokens of a text, prompt included.
        layers: Of the model.
        width: Of its hidden states.
        heads: Of its attention.
        rows: Texts side by side, and in all.
        vocab_size: Tokens that there are.
    """

    length: int = 32
    layers: int = 4
    width: int = 128
    heads: int = 4
    rows: int = 16
    vocab_size: int = 64

    @property
    def completion(self) -> int:
        """New tokens of a text."""
        return self.length - PROMPT

    @property
    def parameters(self) -> int:
        """Weights of the layers, which every token is multiplied with."""
        return 12 * self.layers * self.width**2

    def agent(self) -> PPO:
        """Returns an agent that has not learnt yet."""
        envs = make_envs(
            self.rows,
            ends=False,
            prompts=random_prompts(self.rows, self.vocab_size, PROMPT, seed=0),
            tokenizer=Numbers(self.vocab_size),
            reward_function=LargeNumbers(self.vocab_size),
            max_new_tokens=self.completion,
        )
        policy = gpt2(
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            vocab_size=self.vocab_size,
            max_length=self.length,
        )
        config = PPOConfig(
            n_episodes=self.rows,
            batch_size=self.rows,
            micro_batch_size=min(self.rows, LARGEST_PASS),
            n_epochs=1,
        )
        return PPO(policy, envs, config)


BASE = Shape()
Axes = Mapping[str, Sequence[Shape]]
AXES: Axes = {
    "tokens of a text": tuple(replace(BASE, length=n) for n in (16, 32, 128, 512, 2048)),
    "parameters": tuple(
        replace(BASE, layers=layers, width=width, heads=heads)
        for layers, width, heads in (
            (5, 128, 4), (5, 256, 4), (8, 384, 6), (8, 640, 10), (19, 768, 12),
        )
    ),
    "texts side by side": tuple(replace(BASE, rows=n) for n in (1, 4, 16, 64, 256, 1024, 4096)),
    "vocabulary": tuple(
        replace(BASE, vocab_size=n) for n in (64, 1024, 8192, 50_000, 150_000)
    ),
}  # fmt: skip
SIZE_OF: Mapping[str, Callable[[Shape], int]] = {
    "tokens of a text": lambda shape: shape.length,
    "parameters": lambda shape: shape.parameters,
    "texts side by side": lambda shape: shape.rows,
    "vocabulary": lambda shape: shape.vocab_size,
}


# Measuring


def seconds(shape: Shape, repeats: int, peaks: Peaks) -> Plain:
    """Measures a shape in processor time, in seconds per new token, with the floor of each."""
    agent = shape.agent()
    found = [_round(agent)]
    if sum(found[0]) < LONG:  # the first warms caches up
        found = [_round(agent) for _ in range(repeats)]
    tokens = shape.rows * shape.completion
    rollouts, updates = ([one / tokens for one in part] for part in zip(*found, strict=True))
    model, lengths = Model.of(agent.policy), [shape.completion] * shape.rows
    passes = -(-shape.rows // LARGEST_PASS)
    floors = (
        decoding(model, PROMPT, lengths, shape.rows),
        updating(model, PROMPT, lengths, passes, steps=1),
    )
    return {
        "rollout": rollouts,
        "update": updates,
        "floors": {
            part: work.seconds(peaks) / tokens for part, work in zip(PARTS, floors, strict=True)
        },
    }


def _round(agent: PPO) -> tuple[float, float]:
    start = process_time()
    rollout = agent.collect()
    written = process_time() - start
    experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
    start = process_time()
    agent.update(experience)
    agent.n_updates += 1  # as `learn` counts: the policy is its reference no longer
    return written, process_time() - start


def bytes_above(shape: Shape) -> Plain:
    """Measures by how much memory rises while a shape writes, and while it learns."""
    _round(BASE.agent())  # libraries keep some of what they take
    agent = shape.agent()
    _create_moments(agent.optimizer)
    rollouts = []
    written = rise(lambda: rollouts.append(agent.collect()))
    experience: Experience = agent.estimate(rollouts[0], *agent.forward(rollouts[0].texts))[0]
    return {"rollout": written, "update": rise(lambda: agent.update(experience))}


def _create_moments(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # which moves nothing
    optimizer.zero_grad()


def curves(cells: Cells, axes: Axes, repeats: int) -> Curves:
    """Returns the points of every axis; measures those that have not been."""
    peaks = Peaks(**cells.found({"kind": "peaks"}, _peaks))

    def point(axis: str, shape: Shape) -> Point:
        times = cells.found(_key("seconds", shape), partial(seconds, shape, repeats, peaks))
        sizes = cells.found(_key("bytes", shape), partial(bytes_above, shape))
        return Point(SIZE_OF[axis](shape), times, sizes)

    return {axis: [point(axis, shape) for shape in shapes] for axis, shapes in axes.items()}


def _peaks() -> Plain:
    peaks = measure_peaks(clock=process_time)
    return {"flops_per_second": peaks.flops_per_second, "bytes_per_second": peaks.bytes_per_second}


def _key(kind: str, shape: Shape) -> dict[str, Any]:
    return {"kind": kind} | asdict(shape)


# Reporting


def figures(found: Curves) -> Iterator[Figure]:
    """Returns the figures of all axes."""
    for axis, points in found.items():
        for point in points:
            for part in PARTS:
                name = f"{axis} {point.size:,}: {part}"
                micros = [1e6 * one for one in point.seconds[part]]
                share = point.floor(part) / point.cost(part)
                yield figure(name, micros, "µs/token", note=f"{share:.0%} of the floor's speed")
                yield figure(f"{name}, memory", point.bytes[part] / 2**20, "MiB")


def _measure_bytes_elsewhere() -> None:
    command = [sys.executable, *sys.argv, "--inside"]
    subprocess.run(command, env=os.environ | MALLOC, check=True)


def main() -> None:
    """Measures memory in a child process, then time, and reports."""
    parser = command_line.parser(__doc__, repeats=3, quick_repeats=1)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where it is drawn")
    parser.set_defaults(threads=1)
    options = command_line.parse(parser)
    axes = {axis: shapes[:2] for axis, shapes in AXES.items()} if options.quick else AXES
    path = options.output / "growth.jsonl"
    if not CLEAR_REFS.exists():
        print("skipped: only Linux tells the peak of a part of a process (/proc/self/clear_refs)")
    elif options.inside:
        for shape in {shape: None for shapes in axes.values() for shape in shapes}:
            Cells(path).found(_key("bytes", shape), partial(bytes_above, shape))
    else:
        _measure_bytes_elsewhere()
        found = curves(Cells(path), axes, options.repeats)
        settings = {"base": asdict(BASE), "prompt": PROMPT}
        write_result("growth", list(figures(found)), settings=settings, folder=options.output)
        growth_picture.draw(found, options.picture)


if __name__ == "__main__":
    main()
