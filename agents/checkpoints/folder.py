"""The folder of a checkpoint: it appears whole or not at all, and tells when it was damaged.

A folder is written beside its place, brought to the disk and renamed; its manifest, written last,
holds the size and SHA-256 of every file in it. This module does not know what the files mean. The
manifest finds accidents; against malice stands that nothing in a checkpoint is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


class CheckpointError(RuntimeError):
    """Says that a checkpoint cannot be used, and which file is to blame."""


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Writes a folder so that, whenever the process is killed, it is there in whole or not.

    Args:
        folder: Its place. What stands there is replaced, if it is an empty folder or a checkpoint.
        fill: Writes the files into the folder it is given.

    Raises:
        FileExistsError: If there is something else at `folder`, or files of others within.
    """
    folder = folder.absolute()
    _require_replaceable(folder)
    partial, replaced = _beside(folder, "partial"), _beside(folder, "replaced")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove(partial)
    partial.mkdir()
    fill(partial)
    _seal(partial)
    if folder.exists():
        _remove(replaced)
        os.rename(folder, replaced)
    os.rename(partial, folder)
    _sync(folder.parent)
    _remove(replaced)


def remove_folder(folder: Path) -> None:
    """Removes a checkpoint; killed meanwhile, it leaves no half of one at its place."""
    leaving = _beside(folder.absolute(), "leaving")
    _remove(leaving)
    os.rename(folder, leaving)
    _remove(leaving)


def require_whole(folder: Path) -> None:
    """Checks every file against the manifest.

    A folder that was being replaced when its process was killed is put back first.

    Raises:
        FileNotFoundError: If there is no folder.
        CheckpointError: If a file is missing, cut off or changed; the message names it.
    """
    replaced = _beside(folder.absolute(), "replaced")
    if not folder.exists() and replaced.exists():
        os.rename(replaced, folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no checkpoint at {folder}")
    for name, expected in _manifest(folder).items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"the checkpoint {folder} is damaged: {name} is missing")
        size = path.stat().st_size
        if size != expected["size"]:
            raise CheckpointError(
                f"the checkpoint {folder} is damaged: {name} must have {expected['size']} bytes, "
                f"got {size}"
            )
        if _digest(path) != expected["sha256"]:
            raise CheckpointError(
                f"the checkpoint {folder} is damaged: the content of {name} was changed"
            )


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        for entry in files.values():
            assert isinstance(entry["size"], int)
            assert isinstance(entry["sha256"], str)
    except (AssertionError, AttributeError, KeyError, TypeError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder} is no checkpoint, or a damaged one: it has no manifest.json to go by"
        ) from error
    return dict(files)


def _seal(folder: Path) -> None:
    """Writes the manifest and brings everything to the disk."""
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": _digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=2), encoding="utf-8")
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _require_replaceable(folder: Path) -> None:
    if not folder.exists():
        return
    kept = {MANIFEST, *_manifest(folder)} if (folder / MANIFEST).is_file() else set()
    found = (path for path in folder.rglob("*") if not path.is_dir()) if folder.is_dir() else ()
    foreign = [path for path in found if path.relative_to(folder).as_posix() not in kept]
    if foreign or not folder.is_dir():
        raise FileExistsError(
            "path must be a new or empty folder, or a checkpoint to replace, got "
            f"{foreign[0] if foreign else folder}"
        )


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Brings a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
