"""Measure what would make an update faster and was left: `python benchmarks/alternatives.py`.

On the toy of `benchmarks/toy.py`, a pass of the trunk over the texts of an update and its gradient:
under `torch.compile`, beside the code as it is; and with the texts in two halves, one for each of
two Python threads with one thread of torch, beside the whole with two threads of torch. The same
halves are tried on rollouts, with the GPT-2 of `benchmarks/rollout.py`.

No figure has a goal: what they were held against is the cost of having two ways
(`docs/decisions/0022-gpt2-is-read-whole-by-code-of-our-own.md`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

from agents.command_line.threads import cores
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.model import gpt2_trunk
from benchmarks import command_line, rollout, toy
from benchmarks.figures import Figure, figure, write_result
from benchmarks.timing import interleaved, ratios, tokens_per_second
from benchmarks.writers import collected

PASSES = {16: 16, 64: 4}
"""In one measurement, by the length of completions."""
N_RAGGED = 512

StatesAt = Callable[[Any, Tensor, Tensor], Tensor]
Work = Callable[[], int]


def gradient(
    policy: CausalLMPolicy, input_ids: Tensor, states_at: StatesAt = gpt2_trunk.states_at
) -> tuple[Tensor, ...]:
    """Returns the gradient of the completions' negative log-likelihood, a tensor a parameter.

    Args:
        policy: Of the toy.
        input_ids: (B, T).
        states_at: As that of `gpt2_trunk`.
    """
    rows, length = input_ids.shape
    places = torch.arange(toy.PROMPT - 1, length - 1)  # where the next token is a completion's
    positions = (length * torch.arange(rows)[:, None] + places).flatten()
    logits = policy.head(states_at(policy.model.transformer, input_ids, positions))
    targets = input_ids[:, toy.PROMPT :].flatten()
    loss = functional.cross_entropy(logits, targets, reduction="sum")
    return torch.autograd.grad(loss, list(policy.model.parameters()))


def texts_of(length: int, seed: int) -> Tensor:
    """Returns the texts of an update, of random tokens, (B, T)."""
    shape = (toy.EPISODES, toy.PROMPT + length)
    return torch.randint(toy.VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(seed))


class TwoThreads:
    """This thread and another, each with one thread of torch."""

    def __init__(self) -> None:
        self._other = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))

    def both(self, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
        """Returns what two functions return that run side by side."""
        torch.set_num_threads(1)
        running = self._other.submit(second)
        mine = first()
        return mine, running.result()

    def tokens(self, first: Work, second: Work) -> int:
        """Returns how many tokens two kinds of work dealt with side by side."""
        return sum(self.both(first, second))

    def gradient(self, policy: CausalLMPolicy, input_ids: Tensor) -> list[Tensor]:
        """Returns `gradient`, half of the texts in each thread."""
        first, second = input_ids.chunk(2)
        parts = self.both(lambda: gradient(policy, first), lambda: gradient(policy, second))
        return [mine + other for mine, other in zip(*parts, strict=True)]


def compiling(length: int, repeats: int, seed: int) -> list[Figure]:
    """Measures `torch.compile` on the trunk; what it made is thrown away."""
    policy, input_ids = toy.toy_policy(length, seed), texts_of(length, seed)
    with _empty_compile_cache():
        compiled = torch.compile(gpt2_trunk.states_at, dynamic=False)
        start = perf_counter()
        gradient(policy, input_ids, compiled)
        seconds = perf_counter() - start
        timed = {
            "compiled": _passes(length, lambda: gradient(policy, input_ids, compiled)),
            "as it is": _passes(length, lambda: gradient(policy, input_ids)),
        }
        name = f"{length} tokens: a pass and its gradient"
        return [*_compared(name, timed, repeats), figure(f"{name}: compiling", seconds, "s")]


def halves(length: int, repeats: int, seed: int, threads: TwoThreads) -> list[Figure]:
    """Measures a pass and its gradient with the texts in two halves."""
    policy, input_ids = toy.toy_policy(length, seed), texts_of(length, seed)
    timed = {
        "halves": _passes(length, lambda: threads.gradient(policy, input_ids)),
        "whole": _with_two(_passes(length, lambda: gradient(policy, input_ids))),
    }
    return _compared(f"{length} tokens: a pass and its gradient", timed, repeats)


def rollout_halves(n_ragged: int, repeats: int, seed: int, threads: TwoThreads) -> Iterator[Figure]:
    """Measures rollouts with the rows in two halves, of fixed and of geometric lengths."""
    rows = rollout.ROWS
    parts = [rollout.gpt2_cases(n_ragged // 2, seed, rows // 2) for _ in range(2)]
    wholes = rollout.gpt2_cases(n_ragged, seed, rows)
    for whole, first, second in zip(wholes, *parts, strict=True):
        works = [
            collected(case, judged=False, seed=seed + number)
            for number, case in enumerate((first, second))
        ]
        timed: dict[str, Work] = {
            "halves": partial(threads.tokens, *works),
            "whole": _with_two(collected(whole, judged=False, seed=seed)),
        }
        yield from _compared(f"{whole.name}: rollout", timed, repeats)


def _passes(length: int, one_pass: Callable[[], Sequence[Tensor]]) -> Work:
    """Returns some passes, which count their completions' tokens."""

    def work() -> int:
        for _ in range(PASSES[length]):
            one_pass()
        return PASSES[length] * toy.EPISODES * length

    return work


def _with_two(work: Work) -> Work:
    """Returns the same work with two threads of torch."""

    def with_two() -> int:
        torch.set_num_threads(2)
        return work()

    return with_two


def _compared(name: str, timed: dict[str, Work], repeats: int) -> list[Figure]:
    """Measures two kinds of work in turns; the first is the alternative."""
    speeds = {kind: tokens_per_second(work) for kind, work in timed.items()}
    samples = interleaved(speeds, repeats)
    first, second = samples
    return [
        figure(f"{name}: {first} / {second}", ratios(samples, first, second)),
        *(figure(f"{name}: {kind}", each, "tokens/s") for kind, each in samples.items()),
    ]


@contextmanager
def _empty_compile_cache() -> Iterator[None]:
    """Lets `torch.compile` find nothing of an earlier run, and leave nothing to a later one."""
    torch.compiler.reset()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder),
    ):
        yield


def main() -> None:
    """Measures what this machine can."""
    options = command_line.parse(command_line.parser(__doc__, repeats=9, quick_repeats=3))
    found: list[Figure] = []
    if shutil.which(os.environ.get("CXX", "g++")):
        for length in PASSES:
            found += compiling(length, options.repeats, options.seed)
    else:
        print("torch.compile skipped: it needs a C++ compiler, g++ or that of $CXX")
    if cores() > 1:
        threads = TwoThreads()
        for length in PASSES:
            found += halves(length, options.repeats, options.seed, threads)
        n_ragged = rollout.ROWS * 2 if options.quick else N_RAGGED
        found += rollout_halves(n_ragged, options.repeats, options.seed, threads)
    else:
        print("halves skipped: two threads side by side need two cores")
    settings = {"texts": toy.EPISODES, "passes": PASSES, "rows": rollout.ROWS}
    write_result("alternatives", found, seed=options.seed, settings=settings, folder=options.output)


if __name__ == "__main__":
    main()
