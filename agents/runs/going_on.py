"""How a run ends before its end, and how it goes on: whatever it learns, and by whatever algorithm.

A run has checkpoints in one folder and, once it is finished, a summary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from safetensors import SafetensorError

from agents.agent import Agent
from agents.algorithms.health_checks import TrainingStopped
from agents.checkpoints.folder import replace_folder
from agents.checkpoints.series import latest
from agents.command_line.command import command_line, end, trouble
from agents.command_line.signals import exit_status
from agents.distributed import processes
from agents.policy.causal_lm import CausalLMPolicy
from agents.runs.console import printable, run_console
from agents.runs.run_folder import RunFolder
from text_gym import HuggingFaceTokenizer

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


def save_model(policy: CausalLMPolicy, tokenizer: Any, folder: Path) -> None:
    """Writes a model and its tokenizer, if it is one that transformers reads, whole or not."""

    def fill(partial: Path) -> None:
        policy.save_pretrained(partial)
        if isinstance(tokenizer, HuggingFaceTokenizer):
            tokenizer.tokenizer.save_pretrained(partial)

    replace_folder(folder, fill)


@contextmanager
def advice_on_going_on(folder: Path) -> Iterator[None]:
    """Ends the program with what happened and how to go on, where a run that began stops inside."""
    try:
        yield
    except TrainingStopped as reason:
        kept = latest(folder / CHECKPOINTS)
        where = "no checkpoint was saved yet" if kept is None else f"last good checkpoint: {kept}"
        status, lines = 1, [f"Training stopped: {reason} ({where})"]
    except (KeyboardInterrupt, OSError, SafetensorError) as error:
        refused = trouble(error)
        if not (folder / "config.json").exists():
            raise  # there is nothing yet to go on with
        n = processes.world_size()
        again = command_line("agents.resume", str(folder), n_processes=n)
        if isinstance(error, KeyboardInterrupt):
            status, lines = exit_status(error), [f"Stopped; go on with: {again}"]
        elif refused is not None:
            status, lines = 1, [refused, f"When that is mended, go on with: {again}"]
        else:
            raise
    else:
        return
    end(status, *(lines if processes.is_main() else ()))
