"""Which process serves a study: one at a time, by a lock that dies with it.

Others may open the store meanwhile, to add, to count or to export. Knows nothing of what is served.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from text_gym.quoting import quoted

LOCK, SERVER = ".lock", ".server.json"


class StudyInUse(RuntimeError):
    """Says that a study is served already."""


@contextmanager
def serving(folder: Path, address: str) -> Iterator[None]:
    """Holds a study while the block goes on, and says where it is served.

    Raises:
        StudyInUse: If another process holds it; names that process.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StudyInUse(_in_use(folder)) from error
    path = folder / SERVER
    try:
        path.write_text(json.dumps({"pid": os.getpid(), "address": address}), encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def served_at(folder: Path) -> str | None:
    """Returns the address at which a study is served, or was when its server was killed."""
    said = _said(folder)
    return None if said is None else str(said["address"])


def _in_use(folder: Path) -> str:
    said = _said(folder)
    who = "another process" if said is None else f"process {said['pid']} at {said['address']}"
    return (
        f"a study is served by one process at a time, but {quoted(str(folder))} is served by "
        f"{who}; stop that one first"
    )


def _said(folder: Path) -> dict[str, object] | None:
    try:
        said = json.loads((folder / SERVER).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # it is being written
        return None
    return said if isinstance(said, dict) and {"pid", "address"} <= said.keys() else None
