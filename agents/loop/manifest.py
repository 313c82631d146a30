"""What a stage was made of and what it made, by hashes: its manifest.

Written when a stage is done, so that a loop that goes on knows which are; read by whoever wants to
trace a model to the judgements that it learnt from. Names nothing outside the loop's folder. Knows
no stage.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import text_gym
from agents.checkpoints.plain_values import require_form

FILE = "stage.json"
_FORM: dict[str, Any] = {"stage": "", "settings": {}, "inputs": {}, "outputs": {}, "version": ""}


@dataclass(frozen=True)
class Manifest:
    """Holds how the files of a stage came about."""

    stage: str
    settings: Mapping[str, Any]
    """What the stage was told, its seed included."""
    inputs: Mapping[str, str]
    """SHA-256 of what it read, by path within the loop's folder; the loop's model by that name."""
    outputs: Mapping[str, str]
    """SHA-256 of what it wrote, by path within the loop's folder."""
    version: str = text_gym.__version__


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest of a stage, whole or not at all."""
    partial = folder / f".{FILE}.partial"
    text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n"
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / FILE)


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest of a stage; None if it is not done.

    Raises:
        ValueError: If the file is not what a loop writes.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        require_form(saved, _FORM, "manifest")
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path} must hold what the loop wrote: {error}") from error
    return Manifest(**saved)


def require_same(expected: Mapping[str, Any], found: Mapping[str, Any], where: str) -> None:
    """Checks that what a stage is made of, or what it made, is still what it was.

    Raises:
        ValueError: If anything is different; names it.
    """
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(
                f"a loop must go on with what it began with, but {name} has changed since: "
                f"{expected.get(name)!r} where {where} has {found.get(name)!r}"
            )


def digests(root: Path, paths: Sequence[Path]) -> dict[str, str]:
    """Returns the SHA-256 of files and folders, by their path within another folder."""
    return {path.relative_to(root).as_posix(): digest_of(path) for path in paths}


def digest_of(path: Path) -> str:
    """Returns the SHA-256 of a file; of a folder that of its files' names and SHA-256.

    Raises:
        FileNotFoundError: If there is nothing.
    """
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(one for one in path.rglob("*") if one.is_file())
    lines = [f"{one.relative_to(path).as_posix()} {digest_of(one)}\n" for one in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
