"""With how many threads a run is fastest: its learner tries them before the run begins.

Knows no algorithm: a learner is what makes updates and says how fast they were. The one that tries
is made for this alone and thrown away, so that the run is as if its number had been given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from agents.agent import Agent
from agents.applications.fine_tuning import FineTuning
from agents.callbacks import Callback
from agents.command_line.threads import cores
from agents.distributed import processes
from agents.runs.console import run_console

_ROUNDS = 3
_ALL_UP_TO = 4


def with_fastest_threads(config: FineTuning, build: Callable[[FineTuning], Any]) -> FineTuning:
    """Returns the config of a run with the number of threads that it is fastest with, and says it.

    Of several processes, what the first one measured decides.

    Args:
        config: Of the run.
        build: Config → a learner of that run, which nobody else has.
    """
    numbers = processes.from_main(lambda: numbers_of_threads(cores()))
    speeds = {1: 0.0}
    if len(numbers) > 1:
        own = speeds_with(build(dataclasses.replace(config, threads=1)), numbers)
        speeds = processes.from_main(lambda: own)
    run_console(quiet=not processes.is_main()).print(_said(speeds))
    return dataclasses.replace(config, threads=_fastest(speeds))


def numbers_of_threads(n_cores: int) -> list[int]:
    """Returns the numbers to try: all up to 4, powers of two after that, and that of the cores.

    Example:
        >>> numbers_of_threads(12)
        [1, 2, 3, 4, 8, 12]
    """
    powers = (2**exponent for exponent in range(n_cores.bit_length()))
    return sorted({*range(1, min(n_cores, _ALL_UP_TO) + 1), *powers, n_cores})


def speeds_with(agent: Any, numbers: Sequence[int]) -> dict[int, float]:
    """Returns tokens per second by number of threads, of the fastest of a few updates with each.

    The numbers take turns, and the fastest counts: neither the first update with a number, which
    has to warm up, nor one during which the machine did something else.

    Args:
        agent: An `Agent`; it learns.
        numbers: Of threads.
    """
    last = _Speed()
    agent.callbacks.append(last)
    speeds = dict.fromkeys(numbers, 0.0)
    for _ in range(_ROUNDS):
        for number in numbers:
            torch.set_num_threads(number)
            agent.learn(agent.n_episodes + 1)
            speeds[number] = max(speeds[number], last.tokens_per_second)
    return speeds


class _Speed(Callback):
    """Remembers how fast the last update was."""

    tokens_per_second = 0.0

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Takes in the figure that every learner logs."""
        self.tokens_per_second = metrics["time/tokens_per_second"]
        return True


def _fastest(speeds: Mapping[int, float]) -> int:
    return max(speeds, key=speeds.__getitem__)


def _said(speeds: Mapping[int, float]) -> str:
    if len(speeds) == 1:
        return "Threads: 1, as there is one core"
    each = ", ".join(f"{speed:,.0f} with {number}" for number, speed in speeds.items())
    return f"Threads: {_fastest(speeds)}, as tokens per second were {each}"
