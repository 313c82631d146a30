"""How a run ends before its end, and how it goes on: whatever it learns, and by whatever algorithm.

A run has checkpoints in one folder and, once it is finished, a summary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from agents.agent import Agent
from agents.algorithms.health_checks import TrainingStopped
from agents.checkpoints.series import latest
from agents.command_line.command import command_line, end, trouble, users_traceback
from agents.command_line.signals import exit_status
from agents.distributed import processes
from agents.runs.console import printable, run_console
from agents.runs.run_folder import RunFolder

CHECKPOINTS = "checkpoints"
SUMMARY = "summary.json"


class Restorable(Agent, Protocol):
    """An agent that goes on from a checkpoint."""

    def restore(self, path: Path) -> Any:
        """Goes on from a checkpoint of an agent built as this one was."""


def is_finished(folder: Path) -> bool:
    """Tells whether a run has come to its end, and says so."""
    finished = (folder / SUMMARY).exists()
    if finished:
        run_console().print(f"{printable(str(folder))}/ is finished; its figures are in {SUMMARY}")
    return finished


def restore_latest(
    agent: Restorable, folder: Path, record: RunFolder | None, console: Console
) -> None:
    """Goes on from the newest checkpoint of a run's folder that can be used, if there is any."""
    requirements = () if record is None else (record.require_reached,)
    checkpoint = processes.from_main(lambda: latest(folder / CHECKPOINTS, *requirements))
    if checkpoint is not None:
        agent.restore(checkpoint)
        console.print(f"Going on after {agent.n_episodes:,} episodes, from {checkpoint.name}")


@contextmanager
def advice_on_going_on(
    folder: Path, *, resumable: bool = True, texts: Callable[[], Sequence[str]] = tuple
) -> Iterator[None]:
    """Ends the program with what happened and how to go on, where a run that began stops inside.

    An error in the user's own code goes on, with a note that says how the run does.

    Args:
        folder: Of the run.
        resumable: Whether it has checkpoints to go on from.
        texts: What is being written, for whoever's own code fails without saying on what.
    """
    try:
        yield
    except TrainingStopped as reason:
        kept = latest(folder / CHECKPOINTS)
        where = "no checkpoint was saved yet" if kept is None else f"last good checkpoint: {kept}"
        status, lines = 1, [f"Training stopped: {reason}" + (f" ({where})" if resumable else "")]
    except (KeyboardInterrupt, Exception) as error:
        if not (folder / "config.json").exists():
            raise  # there is nothing yet to go on with
        again, refused = _advice(folder, resumable=resumable), trouble(error)
        if isinstance(error, KeyboardInterrupt):
            status, lines = exit_status(error), [f"Stopped; {again}"]
        elif users_traceback(error):
            for line in () if error.__cause__ else texts():
                error.add_note(f"Among the texts: {line}")
            error.add_note(f"When that is mended, {again}{' --trust-code' if resumable else ''}")
            raise
        elif refused is not None:
            status, lines = 1, [refused, f"When that is mended, {again}"]
        else:
            raise
    else:
        return
    end(status, *(lines if processes.is_main() else ()))


def _advice(folder: Path, *, resumable: bool) -> str:
    if not resumable:
        return "begin again under another --name: this learner saves no checkpoints"
    n = processes.world_size()
    return f"go on with: {command_line('agents.resume', str(folder), n_processes=n)}"
