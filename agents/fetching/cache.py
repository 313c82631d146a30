"""The cache folder: where fetched and fitted things lie, each in a folder that is whole or absent.

It does not know what the folders hold. A folder's name says everything that its content depends
on, so that nothing in it is ever changed or found out of date.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """Returns `$TEXT_GYM_CACHE`, else `text_gym` within `$XDG_CACHE_HOME` or `~/.cache`.

    The environment is read at every call, and nothing is created.
    """
    own = os.environ.get("TEXT_GYM_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "text_gym"


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Gives a temporary folder that becomes `target` if the block succeeds, and else vanishes.

    It lies beside `target`, so that one rename puts everything in place at once. If another process
    was faster, its folder stays: same name, same content. A process that is killed leaves a hidden
    folder behind, which nothing reads.

    Raises:
        OSError: If the folder cannot be made or moved.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield temporary
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
