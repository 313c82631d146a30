"""The folder of a checkpoint: it appears whole or not at all, and tells when it was damaged.

A folder is written beside its place, brought to the disk and renamed; its manifest, written last,
holds the size and SHA-256 of every file in it. This module does not know what the files mean. The
manifest finds accidents; against malice stands that nothing in a checkpoint is ever executed, and
that no name in it leads out of its folder.

Killed at any instant, a process leaves beside the place of `NAME` at most `.NAME.partial` (not yet
whole), `.NAME.replaced` (whole, and what counts while there is no `NAME`) and `.NAME.leaving`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<what>partial|replaced|leaving)", re.DOTALL)


class CheckpointError(RuntimeError):
    """Says that a checkpoint cannot be used, and which file is to blame."""


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Writes a folder so that, whenever the process is killed, it is there in whole or not.

    Args:
        folder: Its place; see `sealed_folder`.
        fill: Writes the files into the folder it is given.

    Raises:
        FileExistsError: If there is something else at `folder`, or files of others within.
    """
    with sealed_folder(folder) as partial:
        fill(partial)


@contextmanager
def sealed_folder(folder: Path) -> Iterator[Path]:
    """Yields a folder to be filled, which then appears at its place, whole and with a manifest.

    Args:
        folder: Its place. What stands there is replaced, if it is an empty folder or a checkpoint.
            A link is followed.

    Raises:
        FileExistsError: If there is something else at `folder`, or files of others within.
    """
    folder = folder.resolve()
    _require_replaceable(folder)
    with _replacing(folder) as partial:
        yield partial
        _seal(partial)


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Writes a folder without a manifest, over whatever stands at its place.

    If that fails, or is interrupted, nothing is left of it.

    Args:
        folder: Its place, which must be the caller's own.
        fill: Writes the files into the folder it is given.
    """
    with _replacing(folder) as partial:
        fill(partial)


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    partial, replaced = _beside(folder, "partial"), _beside(folder, "replaced")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove(partial)
    partial.mkdir()
    try:
        yield partial
        for path in (*partial.rglob("*"), partial):
            _sync(path)
    except BaseException:
        _remove(partial)  # on a full disk, room is what is missing
        raise
    if os.path.lexists(folder):
        _remove(replaced)
        os.rename(folder, replaced)
    os.rename(partial, folder)
    _sync(folder.parent)
    _remove(replaced)


def remove_folder(folder: Path) -> None:
    """Removes what stands at a checkpoint's place; killed meanwhile, it leaves no half of one.

    Of a link, what it leads to stays.
    """
    leaving = _beside(folder, "leaving")
    _remove(_beside(folder, "replaced"))  # or it would count again
    _remove(leaving)
    if os.path.lexists(folder):
        os.rename(folder, leaving)
    _remove(leaving)


def standing(parent: Path) -> set[str]:
    """Returns the names in a folder, those of what was being replaced included."""
    names = {path.name for path in parent.iterdir()} if parent.is_dir() else set()
    leftovers = [match for match in map(_LEFTOVER.fullmatch, names) if match]
    replaced = {match["name"] for match in leftovers if match["what"] == "replaced"}
    return (names - {match[0] for match in leftovers}) | replaced


def clear_leftovers(parent: Path) -> None:
    """Removes what killed processes left in a folder; puts back what they were replacing."""
    for match in map(_LEFTOVER.fullmatch, os.listdir(parent) if parent.is_dir() else ()):
        if match is not None:
            _put_back(parent / match["name"])
            _remove(parent / match[0])


def require_whole(folder: Path) -> None:
    """Checks every file against the manifest.

    A folder that was being replaced when its process was killed is put back first.

    Raises:
        FileNotFoundError: If there is no folder.
        CheckpointError: If a file is missing, cut off or changed; the message names it.
    """
    _put_back(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no checkpoint at {folder}")
    for name, expected in _manifest(folder).items():
        try:
            damage = _damage(folder, name, expected)
        except OSError as error:
            damage = f"{name} cannot be read ({error.strerror})"
        if damage is not None:
            raise CheckpointError(f"the checkpoint {folder} is damaged: {damage}")


def _damage(folder: Path, name: str, expected: Mapping[str, Any]) -> str | None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return f"{name!r} in its manifest leads out of it"
    if not path.is_file():
        return f"{name} is missing"
    size = path.stat().st_size
    if size != expected["size"]:
        return f"{name} must have {expected['size']} bytes, got {size}"
    return None if _digest(path) == expected["sha256"] else f"the content of {name} was changed"


def _put_back(folder: Path) -> None:
    replaced = _beside(folder, "replaced")
    if not os.path.lexists(folder) and replaced.exists():
        os.rename(replaced, folder)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        if all({"size": int, "sha256": str} == _kinds(entry) for entry in files.values()):
            return dict(files)
        reason = None
    except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        reason = error
    raise CheckpointError(
        f"{folder} is no checkpoint, or a damaged one: it has no manifest.json to go by"
    ) from reason


def _kinds(entry: Mapping[str, Any]) -> dict[str, type]:
    return {name: type(value) for name, value in entry.items()}


def _seal(folder: Path) -> None:
    """Writes the manifest."""
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": _digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=2), encoding="utf-8")


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
    folder = folder.absolute()
    return folder.with_name(f".{folder.name}.{what}")


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


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
