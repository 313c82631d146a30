"""The cache folder: where fetched and fitted things lie, each in a folder that is whole or absent.

It does not know what the folders hold. A folder's name says everything that its content depends
on, so that nothing in it is ever changed or found out of date.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from agents.checkpoints.folder import replace_folder


def cache_folder() -> Path:
    """Returns `$TEXT_GYM_CACHE`, else `text_gym` within `$XDG_CACHE_HOME` or `~/.cache`.

    The environment is read at every call, and nothing is created.
    """
    own = os.environ.get("TEXT_GYM_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "text_gym"


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
