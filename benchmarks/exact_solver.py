"""Time the exact solver: `python benchmarks/exact_solver.py`.

Sixteen characters and EOS, five tokens: 1,118,481 completions in 69,905 states, scored by an
ordinary reward function that reads their text, with a two-layer GPT-2 as reference. One thread.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.next_token import NextTokenLogProbs
from benchmarks.figures import RESULTS, figure, write_result
from text_gym import CharTokenizer, TextGenEnv
from text_gym.exact import solve

CHARACTERS = "abcdefghijklmnop"


def rising(prompt: str, completion: str) -> float:  # noqa: ARG001  # as rewards are called
    """Pay for every letter that comes later in the alphabet than the one before."""
    return float(sum(first < second for first, second in pairwise(completion)))


def timed_into(seconds: dict[str, float], name: str, function: Callable[[], Any]) -> Any:
    """Note how long a call takes, and return its result."""
    start = time.perf_counter()
    result = function()
    seconds[name] = time.perf_counter() - start
    return result


def main() -> None:
    """Solve the task once, step by step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--characters", type=int, default=16, help="size of the alphabet, EOS aside"
    )
    parser.add_argument("--steps", type=int, default=5, help="most tokens of a text")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON file")
    options = parser.parse_args()
    torch.set_num_threads(1)

    tokenizer = CharTokenizer(CHARACTERS[: options.characters])
    env = TextGenEnv(["a"], tokenizer, rising, max_new_tokens=options.steps)
    eos = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size,
        n_positions=options.steps,
        n_embd=64,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,
        bos_token_id=eos,
        eos_token_id=eos,
    )
    policy = CausalLMPolicy.from_config(config, seed=0)

    seconds: dict[str, float] = {}
    timed = partial(timed_into, seconds)
    start = time.perf_counter()
    solution = timed("enumerate and score all completions", lambda: solve(env))
    reference = timed(
        "ask the transformer about every state",
        lambda: solution.tabulate(NextTokenLogProbs(policy)),
    )
    best = timed("optimal return, policy, all values", lambda: solution.optimal_return)
    soft = timed("soft optimum at β = 0.1", lambda: solution.soft_optimum(reference, 0.1))
    betas = [2.0**k for k in range(-6, 6)]
    timed("reward-KL frontier, 12 points", lambda: solution.frontier(reference, betas))
    of_16 = timed("best of 16", lambda: solution.best_of_n(reference, 16))
    seconds["all of it"] = time.perf_counter() - start
    print(f"{solution.n_completions:,} completions, {solution.n_states:,} states")
    print(
        f"optimal return {best:.4f}; reference {solution.evaluate(reference).expected_reward:.4f}"
    )
    print(f"soft optimum: reward {soft.expected_reward:.4f}, KL {soft.kl:.4f}")
    print(f"best of 16: reward {of_16.expected_reward:.4f}, KL {of_16.kl:.4f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_result(
        "exact_solver",
        [
            *(figure(name, taken, "s") for name, taken in seconds.items()),
            figure("peak memory", peak, "MiB"),
        ],
        seed=0,
        settings={"characters": options.characters, "steps": options.steps},
        folder=options.output,
    )


if __name__ == "__main__":
    main()
