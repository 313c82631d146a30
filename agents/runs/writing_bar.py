"""A bar while texts are written: how many have ended, and how long the rest will take.

Watches the environments, whoever writes in them, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents.runs.console import run_console

Envs = VectorEnv[Any, Any, Any]


@contextmanager
def writing_bar(
    envs: Envs, n_texts: int, what: str, console: Console | None = None
) -> Iterator[Envs]:
    """Shows a bar until the block ends, and yields the environments that move it.

    Args:
        envs: In which texts are written.
        n_texts: How many.
        what: Is done, in a word.
        console: Where to; None: the terminal.
    """
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = console or run_console()
    with Progress(TextColumn(what), *columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=n_texts)
        yield Counted(envs, lambda n: progress.advance(task, n))


class Counted(VectorWrapper):
    """Tells how many texts end at each step.

    Args:
        envs: The environments.
        told: Called with the number, where it is above 0.
    """

    def __init__(self, envs: Envs, told: Callable[[int], object]) -> None:
        super().__init__(envs)
        self._told = told

    def step(self, actions: Any) -> Any:
        """Takes a step, and tells how many texts it ended."""
        step = self.env.step(actions)
        ended = int(np.count_nonzero(step[2] | step[3]))
        if ended:
            self._told(ended)
        return step
