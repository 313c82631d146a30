"""Debian packages as carriers of data: pinned by hash, downloaded, never installed.

`apt-get` downloads, under its own settings. Where there is none, or its release has another
version, a person can put the file into the cache folder. This module does not know what the
packages hold.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.fetching.wheels import FetchError, require_hash, require_plain_names

_MAGIC, _HEADER = b"!<arch>\n", 60


@dataclass(frozen=True)
class DebianPackage:
    """Names one file of Debian's archive, for all architectures.

    Attributes:
        project: The package.
        version: Its version.
        sha256: Of the file.
        source: Folder of the archive's pool in which it lies.
    """

    project: str
    version: str
    sha256: str
    source: str

    @property
    def filename(self) -> str:
        """The file's name."""
        return f"{self.project}_{self.version}_all.deb"


def download(package: DebianPackage, folder: Path, by_hand: Path) -> Path:
    """Puts a package's file into a folder and returns its path.

    Args:
        package: What.
        folder: Where to.
        by_hand: The folder in which a person may have put the file; if it is there, nothing is
            downloaded.

    Raises:
        FetchError: If apt-get cannot download it, or the file is not the one named.
    """
    path = folder / package.filename
    if (by_hand / package.filename).is_file():
        shutil.copyfile(by_hand / package.filename, path)
    else:
        _download(package, folder, by_hand)
    require_hash(path, package.sha256)
    return path


def extract(package: Path, members: Mapping[str, str], folder: Path) -> None:
    """Copies files of a package into a folder, each under the file name given for it.

    Args:
        package: The .deb file.
        members: File name to write, by path in the installed system, without the first slash.
        folder: Where to write.

    Raises:
        FetchError: If it is no Debian package, or a file is missing from it.
        ValueError: If a file name to write would leave the folder.
    """
    require_plain_names(members.values())
    try:
        with tarfile.open(fileobj=io.BytesIO(_data_archive(package.read_bytes()))) as archive:
            for member, name in members.items():
                source = archive.extractfile(f"./{member}")
                if source is None:
                    raise KeyError(f"{member} is no file")
                (folder / name).write_bytes(source.read())
    except (KeyError, ValueError, tarfile.TarError) as error:
        raise FetchError(f"{package.name} does not hold what it should: {error}") from error


def _data_archive(package: bytes) -> bytes:
    """Returns the archive of a package's files: the member `data.tar` of an `ar` archive.

    Source: deb(5) and ar(5).
    """
    if not package.startswith(_MAGIC):
        raise ValueError("not an ar archive")
    start = len(_MAGIC)
    while start < len(package):
        header = package[start : start + _HEADER]
        size = int(header[48:58])
        start += _HEADER
        if header.startswith(b"data.tar"):
            return package[start : start + size]
        start += size + size % 2
    raise ValueError("no data.tar")


def _download(package: DebianPackage, folder: Path, by_hand: Path) -> None:
    place = f"pool/main/{package.source}/{package.filename}"
    otherwise = (
        f"download {place} from any mirror of Debian yourself, put it into {by_hand} and repeat "
        "the command"
    )
    program = shutil.which("apt-get")
    if program is None:
        raise FetchError(f"downloading {package.project} needs apt-get; elsewhere {otherwise}")
    command = [program, "download", f"{package.project}={package.version}"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode or not (folder / package.filename).is_file():
        errors = [line for line in result.stderr.splitlines() if line.startswith("E:")]
        said = errors[-1].removeprefix("E:").strip() if errors else "no reason given"
        raise FetchError(
            f"{package.project} {package.version}: apt-get could not download it ({said}); "
            f"{otherwise}"
        )
