"""Whose a run's folder is: names, new folders, and the lock.

A folder is one run's at a time, by a lock that dies with its process.

Of several processes that learn together the first one holds the lock, for all of them. Knows
nothing of what is in the folder, but for what a run leaves that was killed before it said what it
is.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from agents.command_line.command import command_line
from agents.distributed import processes

LOCK = ".lock"
_BEGUN = {LOCK, ".config.json.partial"}


class FolderInUse(RuntimeError):
    """Says that a folder belongs to a run that still goes on."""


def require_name(name: str) -> None:
    """Checks that a run's name is one of a folder within another.

    Raises:
        ValueError: If it leads elsewhere.
    """
    if Path(name).name != name or name in ("", ".", "..") or "\0" in name:
        raise ValueError(f"name must be one component of a path, got {name!r}")


def require_new(folder: Path) -> None:
    """Checks that no run has begun in a folder, or that it was killed before it said what it is.

    Raises:
        FileExistsError: If there is something in it; says how to go on.
    """
    if os.path.lexists(folder) and (not folder.is_dir() or set(os.listdir(folder)) - _BEGUN):
        raise FileExistsError(
            f"the folder of a run must be new, got {folder}: give another --name, or go on "
            f"with that run by: {command_line('agents.resume', str(folder))}"
        )


@contextmanager
def new_folder(output: Path, name: str | None, default: str) -> Iterator[Path]:
    """Makes a run's folder and holds it while the block goes on.

    Args:
        output: Of all runs.
        name: Of the folder within it.
        default: Without a name: this one, or the first of `default-2`, `default-3` … that is free.

    Raises:
        FileExistsError, FolderInUse: In every process, if there is a run of that name.
    """
    folder = processes.from_main(lambda: _made(output, name, default))
    with owned(folder):
        processes.from_main(lambda: require_new(folder))
        yield folder


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Holds a run's folder while the block goes on.

    Raises:
        FolderInUse: In every process, if another run holds it.
    """
    lock = FileLock(folder / LOCK)

    def acquire() -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise FolderInUse(
                f"the folder of a run must belong to nobody else, but {folder} is that of a run "
                "that goes on now; wait for its end, or stop it"
            ) from error

    processes.from_main(acquire)
    try:
        yield
    finally:
        lock.release()


def _made(output: Path, name: str | None, default: str) -> Path:
    if name is not None:
        require_name(name)
        folder = output / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    folder, numbers = output / default, itertools.count(2)
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # of a run that was started in the same second
            folder = output / f"{default}-{next(numbers)}"
        else:
            return folder
