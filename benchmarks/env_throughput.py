"""Measure how fast the environment steps: `python benchmarks/env_throughput.py`.

Every figure is steps per second of all rows together; every ratio is taken within one run, round by
round, and the median over rounds is reported. Tokens are random, with EOS at a
probability that makes texts about 31 tokens long; the context is L = 84.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv

import text_gym
from benchmarks.figures import RESULTS, figure, write_result
from text_gym.rewards import Length

PROMPT_TOKENS, NEW_TOKENS = 20, 64
EOS_PROBABILITY = 1 / 38  # a mean length of 31 under the limit of 64


class Ids:
    """A vocabulary of V ids without text, so that only the environment is measured."""

    def __init__(self, vocab_size: int, excluded: int = 0) -> None:
        self.vocab_size = vocab_size
        self.eos_token_id = vocab_size - 1
        self.excluded_token_ids = frozenset(range(excluded))

    def encode(self, text: str) -> list[int]:
        """Returns one id per character."""
        return [ord(character) % self.eos_token_id for character in text]

    def decode(self, token_ids: Any) -> str:
        """Returns one letter per id."""
        return "".join(chr(97 + index % 26) for index in token_ids)


def task(
    vocab_size: int = 64, prompt_tokens: int = PROMPT_TOKENS, excluded: int = 0
) -> dict[str, Any]:
    """Returns the arguments of an environment."""
    return {
        "prompts": ["p" * prompt_tokens],
        "tokenizer": Ids(vocab_size, excluded),
        "reward_function": Length(32),
        "max_new_tokens": NEW_TOKENS,
    }


def actions(vocab_size: int, n: int, steps: int) -> np.ndarray:
    """Returns random tokens, (steps, n)."""
    np_random = np.random.default_rng(0)
    tokens = np_random.integers(0, vocab_size - 1, (steps, n))
    tokens[np_random.random((steps, n)) < EOS_PROBABILITY] = vocab_size - 1
    return tokens


def vector_seconds(envs: VectorEnv, tokens: np.ndarray) -> float:
    """Returns the seconds per step and row of a vector."""
    envs.reset(seed=0)
    start = time.perf_counter()
    for row in tokens:
        envs.step(row)
    return (time.perf_counter() - start) / tokens.size


def single_seconds(env: gym.Env, tokens: np.ndarray) -> float:
    """Returns the seconds per step of one environment."""
    env.reset(seed=0)
    start = time.perf_counter()
    for token in tokens[:, 0].tolist():
        _, _, terminated, truncated, _ = env.step(token)
        if terminated or truncated:
            env.reset()
    return (time.perf_counter() - start) / len(tokens)


def copy_seconds(n: int, steps: int) -> float:
    """The floor: one copy of the observation per step."""
    ids = np.zeros((n, PROMPT_TOKENS + NEW_TOKENS), np.int64)
    mask = np.zeros((n, PROMPT_TOKENS + NEW_TOKENS), np.int8)
    start = time.perf_counter()
    for _ in range(steps):
        ids.copy(), mask.copy()
    return (time.perf_counter() - start) / (steps * n)


def native(n: int, **arguments: Any) -> VectorEnv:
    """Returns the native vector environment."""
    return gym.make_vec("TextGen-v0", num_envs=n, **arguments)


def measurements(steps: int) -> dict[str, Callable[[], float]]:
    """Returns what is timed, by name."""

    def native_at(n: int, vocab_size: int = 64, **changes: Any) -> Callable[[], float]:
        copy = changes.pop("copy", True)
        envs = native(n, copy=copy, **task(vocab_size, **changes))
        tokens = actions(vocab_size, n, max(50, steps * 64 // max(n, 64)))
        return lambda: vector_seconds(envs, tokens)

    cartpole = gym.make_vec("CartPole-v1", num_envs=64)
    cart_actions = np.random.default_rng(0).integers(0, 2, (steps, 64))
    sync = SyncVectorEnv([lambda: text_gym.TextGenEnv(**task())] * 64)
    single = text_gym.TextGenEnv(**task())
    return {
        "floor: one copy of the observation": lambda: copy_seconds(64, steps),
        "CartPoleVectorEnv, 64 rows": lambda: vector_seconds(cartpole, cart_actions),
        "native, 64 rows": native_at(64),
        "native, 64 rows, read-only views": native_at(64, copy=False),
        "native, 64 rows, vocabulary mask": native_at(64, excluded=8),
        "native, 64 rows, V = 50": native_at(64, vocab_size=50),
        "native, 64 rows, V = 50,000": native_at(64, vocab_size=50_000),
        "native, 64 rows, L = 1,024": native_at(64, prompt_tokens=960),
        "native, 64 rows, L = 1,024, read-only views": native_at(64, prompt_tokens=960, copy=False),
        "native, 1 row": native_at(1),
        "native, 16 rows": native_at(16),
        "native, 256 rows": native_at(256),
        "native, 1,024 rows": native_at(1024),
        "SyncVectorEnv over TextGenEnv, 64 rows": lambda: vector_seconds(
            sync, actions(64, 64, steps // 10)
        ),
        "TextGenEnv": lambda: single_seconds(single, actions(64, 1, steps)),
    }


GOALS = [
    ("native, 64 rows", "CartPoleVectorEnv, 64 rows", 1.5),
    ("native, 64 rows", "SyncVectorEnv over TextGenEnv, 64 rows", 10.0),
    ("native, 64 rows, V = 50,000", "native, 64 rows, V = 50", 0.95),
    ("native, 64 rows, L = 1,024, read-only views", "native, 64 rows, read-only views", 0.9),
    ("native, 64 rows", "floor: one copy of the observation", None),
]


def main() -> None:
    """Prints and writes steps per second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000, help="vector steps per round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON file")
    options = parser.parse_args()
    timed = measurements(options.steps)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(options.rounds):
        for name, measure in timed.items():
            seconds[name].append(measure())
    speeds = [
        figure(name, [1 / value for value in values], "steps/s") for name, values in seconds.items()
    ]
    ratios = [
        figure(
            f"{name} / {other}",
            [b / a for a, b in zip(seconds[name], seconds[other], strict=True)],
            at_least=goal,
        )
        for name, other, goal in GOALS
    ]
    settings = {"steps": options.steps}
    write_result(
        "env_throughput", [*ratios, *speeds], seed=0, settings=settings, folder=options.output
    )


if __name__ == "__main__":
    main()
