"""Measure how fast the environment steps: `python benchmarks/env_throughput.py`.

Every figure is steps per second of all rows together; every ratio is taken within one run, round by
round, and the median over rounds is reported. What is timed is the process's own time on the
processor. Registered tasks are as `gym.make_vec` makes them, with the rewards that they have, and
tokens drawn uniformly. Elsewhere no text is read, EOS comes at a probability that makes texts about
31 tokens long, and the context is L = 84.
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
    start = time.process_time()
    for row in tokens:
        envs.step(row)
    return (time.process_time() - start) / tokens.size


def single_seconds(env: gym.Env, tokens: np.ndarray) -> float:
    """Returns the seconds per step of one environment."""
    env.reset(seed=0)
    start = time.process_time()
    for token in tokens[:, 0].tolist():
        _, _, terminated, truncated, _ = env.step(token)
        if terminated or truncated:
            env.reset()
    return (time.process_time() - start) / len(tokens)


def copy_seconds(n: int, steps: int) -> float:
    """The floor: one copy of the observation per step."""
    ids = np.zeros((n, PROMPT_TOKENS + NEW_TOKENS), np.int64)
    mask = np.zeros((n, PROMPT_TOKENS + NEW_TOKENS), np.int8)
    start = time.process_time()
    for _ in range(steps):
        ids.copy(), mask.copy()
    return (time.process_time() - start) / (steps * n)


def native(n: int, **arguments: Any) -> VectorEnv:
    """Returns the native vector environment."""
    return gym.make_vec("TextGen-v0", num_envs=n, **arguments)


def uniform(n_actions: int, n: int, steps: int) -> np.ndarray:
    """Returns actions drawn uniformly, (steps, n)."""
    return np.random.default_rng(0).integers(0, n_actions, (steps, n))


def as_made(name: str, steps: int, **arguments: Any) -> Callable[[], float]:
    """Returns the measurement of a registered task, 64 rows, with its own reward."""
    envs = gym.make_vec(name, num_envs=64, **arguments)
    tokens = uniform(int(envs.single_action_space.n), 64, steps)  # type: ignore[attr-defined]
    return lambda: vector_seconds(envs, tokens)


def one_as_made(name: str, steps: int) -> Callable[[], float]:
    """Returns the measurement of one environment, as `gym.make` makes it."""
    env = gym.make(name)
    tokens = uniform(int(env.action_space.n), 1, steps)  # type: ignore[attr-defined]
    return lambda: single_seconds(env, tokens)


def native_at(
    steps: int, n: int = 64, vocab_size: int = 64, *, copy: bool = True, **changes: Any
) -> Callable[[], float]:
    """Returns the measurement of the native vector environment with a reward by length."""
    envs = native(n, copy=copy, **task(vocab_size, **changes))
    tokens = actions(vocab_size, n, max(50, steps * 64 // max(n, 64)))
    return lambda: vector_seconds(envs, tokens)


def registered() -> list[str]:
    """Returns the ids of all tasks that this package registers, if their data is here.

    The default task is left out.
    """
    names = [name for name in gym.registry if name.startswith("TextGen/")]
    return [name for name in names if _is_here(name)]


def _is_here(name: str) -> bool:
    try:
        gym.make(name).close()
    except (FileNotFoundError, ModuleNotFoundError) as error:
        print(f"{name} is left out: {error}")
        return False
    return True


def measurements(steps: int) -> dict[str, Callable[[], float]]:
    """Returns what is timed, by name."""
    sync = SyncVectorEnv([lambda: text_gym.TextGenEnv(**task())] * 64)
    single = text_gym.TextGenEnv(**task())
    return {
        AS_MADE: as_made("TextGen-v0", steps, max_new_tokens=64),
        "TextGen-v0 as made, 64 rows": as_made("TextGen-v0", steps),
        CARTPOLES: as_made("CartPole-v1", steps),
        NATIVE: native_at(steps),
        "floor: one copy of the observation": lambda: copy_seconds(64, steps),
        "native, 64 rows, read-only views": native_at(steps, copy=False),
        "native, 64 rows, vocabulary mask": native_at(steps, excluded=8),
        "native, 64 rows, V = 50": native_at(steps, vocab_size=50),
        "native, 64 rows, V = 50,000": native_at(steps, vocab_size=50_000),
        "native, 64 rows, L = 1,024": native_at(steps, prompt_tokens=960),
        LONG_VIEWS: native_at(steps, prompt_tokens=960, copy=False),
        "native, 1 row": native_at(steps, 1),
        "native, 16 rows": native_at(steps, 16),
        "native, 256 rows": native_at(steps, 256),
        "native, 1,024 rows": native_at(steps, 1024),
        SYNC: lambda: vector_seconds(sync, actions(64, 64, steps // 10)),
        "TextGenEnv, reward by length": lambda: single_seconds(single, actions(64, 1, steps)),
        "TextGen-v0, one environment": one_as_made("TextGen-v0", steps),
        "CartPole-v1, one environment": one_as_made("CartPole-v1", steps),
        **{f"{name}, 64 rows": as_made(name, steps // 4) for name in registered()},
    }


AS_MADE = "TextGen-v0 as made, max_new_tokens = 64, 64 rows"
CARTPOLES = "CartPoleVectorEnv, 64 rows"
NATIVE = "native, 64 rows, reward by length"
LONG_VIEWS = "native, 64 rows, L = 1,024, read-only views"
SYNC = "SyncVectorEnv over TextGenEnv, 64 rows"
GOALS = [
    (AS_MADE, CARTPOLES, 1.0),
    ("TextGen-v0 as made, 64 rows", CARTPOLES, None),
    (NATIVE, CARTPOLES, 1.5),
    (NATIVE, SYNC, 15.0),
    ("TextGen-v0, one environment", "CartPole-v1, one environment", 1.0),
    ("native, 64 rows, V = 50,000", "native, 64 rows, V = 50", 0.95),
    (LONG_VIEWS, "native, 64 rows, read-only views", 0.9),
    (NATIVE, "floor: one copy of the observation", None),
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
