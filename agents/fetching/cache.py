"""Folders of the cache, where fetched and fitted things lie: each is whole or absent.

It does not know what the folders hold. A folder's name says everything that its content depends
on, so that nothing in it is ever changed or found out of date.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from agents.checkpoints.folder import replace_folder


def fill_once(target: Path, fill: Callable[[Path], None]) -> None:
    """Fills a folder, unless it is there; it appears whole or not at all.

    One process does so at a time; who comes second waits, and finds it there. What a killed one
    left half done is cleared first.

    Args:
        target: The folder's place.
        fill: Writes the files into the folder it is given.

    Raises:
        OSError: If the folder cannot be made or moved.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if not target.is_dir():
            replace_folder(target, fill)
