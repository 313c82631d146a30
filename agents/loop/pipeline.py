"""The whole loop: round after round, stage after stage, each done once; and going on.

Killed at any moment and resumed, a loop writes what it would have written: a stage that is done is
not done again, one that was stopped goes on. Knows the order, and nothing of what stages do.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from agents.command_line.command import command_line, end
from agents.command_line.threads import number_of_threads
from agents.distributed import processes
from agents.loop.manifest import read_manifest
from agents.loop.options import PRESET, Loop
from agents.loop.report import sections
from agents.loop.stages import Round
from agents.policy.precision import settled
from agents.reports import write_report
from agents.reports.json_file import write_json
from agents.runs.console import printable, run_console, side_by_side
from agents.runs.going_on import SUMMARY, advice_on_going_on, is_finished
from agents.runs.owner import new_folder, owned, require_name, require_new
from agents.runs.saved_config import anchored, described, read_as, trust_run
from agents.runs.tracking import load_trackers
from agents.runs.trust import trust


def run(config: Loop) -> Path:
    """Carries out a loop and returns its folder.

    Raises:
        FileExistsError: If the loop's folder exists.
        ValueError: If an option names nothing, or several processes were started.
        SystemExit: If the loop was stopped; says first how to go on.
    """
    if config.name is not None:
        require_name(config.name)
        require_new(config.output / config.name)  # before anything is loaded
    load_trackers(config.track)  # and not after people have judged
    config = _settled(config)
    trust(vars(config))
    default = f"{PRESET}-seed{config.algorithm.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    with new_folder(config.output, config.name, default) as folder:
        write_json(folder / "config.json", described(PRESET, config))
        return _carry_out(config, folder.absolute())


def resume(folder: Path, *, trust_code: bool = False) -> Path:
    """Goes on with a stopped loop, and returns its folder.

    Args:
        folder: Of the loop.
        trust_code: Whether to run the code that its config names, even if it was never run here.

    Raises:
        FileNotFoundError: If `folder` holds no loop.
        FolderInUse: If the loop still goes on.
        ValueError: If what the loop began with has changed.
        SystemExit: As `run`.
    """
    if trust_code:
        trust_run(folder)
    config = read_as(Loop, folder).config
    if is_finished(folder):
        return folder
    with owned(folder):
        if is_finished(folder):  # by the one that held it
            return folder
        return _carry_out(config, folder.absolute())


def _settled(config: Loop) -> Loop:
    """Returns a config that means the same on another day, in another folder.

    Raises:
        ValueError: If several processes were started, or a policy is to be shared out over some.
    """
    device = processes.init(use_cpu=config.device == "cpu")
    if processes.world_size() > 1:
        raise ValueError(f"a loop must be one process, got {processes.world_size()}")
    if config.policy.sharded:
        raise ValueError("policy.sharded must be False in a loop, which is one process, got True")
    policy, threads = settled(config.policy, device), number_of_threads(config.threads)
    return anchored(dataclasses.replace(config, policy=policy, threads=threads))


def _carry_out(config: Loop, folder: Path) -> Path:
    console = run_console()
    torch.set_num_threads(number_of_threads(config.threads))
    with _advice(folder):
        for number in _numbers(config):
            for stage in Round(config, folder, number, console).stages:
                console.print(f"Round {number} of {config.rounds}: {stage.name}", style="bold")
                if not stage.carry_out():
                    console.print("  is done")
        verdicts = _written(config, folder)
    _show(console, folder, verdicts)
    return folder


@contextmanager
def _advice(folder: Path) -> Iterator[None]:
    """Says how the loop goes on where a stage was stopped, and said how that stage does."""
    try:
        with advice_on_going_on(folder):
            yield
    except SystemExit as stopped:
        status = stopped.code if isinstance(stopped.code, int) else 1
        end(status, f"The loop: {command_line('agents.resume', str(folder))}")


def _written(config: Loop, folder: Path) -> list[dict[str, Any]]:
    """Writes report and summary of a loop; returns the figures of each round."""
    rounds = [Round(config, folder, number, run_console()) for number in _numbers(config)]
    read = [one.evaluation.read_text(encoding="utf-8") for one in rounds]
    evaluations = [json.loads(one) for one in read]
    manifests = [
        (one.number, manifest)
        for one in rounds
        for stage in one.stages
        if (manifest := read_manifest(stage.folder)) is not None
    ]
    verdicts = [{k: v for k, v in one.items() if k != "replies"} for one in evaluations]
    figures = {"rounds": verdicts}
    write_report(
        folder, f"From judgements: {folder.name}", sections(evaluations, manifests), figures
    )
    write_json(folder / SUMMARY, figures)  # the last: a loop that has it is finished
    return verdicts


def _numbers(config: Loop) -> range:
    return range(1, config.rounds + 1)


def _show(console: Console, folder: Path, verdicts: list[dict[str, Any]]) -> None:
    rows: dict[str, dict[str, str]] = {}
    for number, verdict in enumerate(verdicts, 1):
        for name, one in verdict.items():
            rate = one["win_rate"]
            cell = f"{rate['value']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]"
            rows.setdefault(f"wins over the base, {name}", {})[f"round {number}"] = cell
            rewards = f"{one['base']['reward']:.3f} -> {one['tuned']['reward']:.3f}"
            rows.setdefault(f"reward, {name}", {})[f"round {number}"] = rewards
        kl = f"{one['tuned']['kl']:.2f}"
        rows.setdefault("KL from the base (nats per reply)", {})[f"round {number}"] = kl
    console.print(side_by_side("Held-out prompts", rows))
    console.print(f"Written to {printable(str(folder))}/")
