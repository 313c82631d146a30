"""The user's own code, named by where it stands: `file.py:name` or `package.module:name`.

Knows nothing of what the name is used for.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

_SUFFIX = ".py"


def is_place(name: str) -> bool:
    """Tells the place of a name in somebody's code from any other option.

    Example:
        >>> is_place("polite.py:polite"), is_place("my.rewards:Polite"), is_place("sentiment")
        (True, True, False)
    """
    where, colon, last = name.rpartition(":")
    dotted = all(part.isidentifier() for part in where.split("."))
    return bool(colon) and last.isidentifier() and (where.endswith(_SUFFIX) or dotted)


def anchored_place(place: str) -> str:
    """Returns a place so that its file is found from any working folder."""
    where, _, last = place.rpartition(":")
    return f"{os.path.abspath(where)}:{last}" if where.endswith(_SUFFIX) else place


def load_object(place: str, option: str) -> Any:
    """Returns what stands at a place.

    Args:
        place: See `is_place`.
        option: What names it, for messages.

    Raises:
        ValueError: If there is no such file, module, or name in it. What the code itself raises
            while it is imported is not caught.
    """
    module, last = _module(place, option), place.rpartition(":")[2]
    if not hasattr(module, last):
        names = sorted(name for name in vars(module) if not name.startswith("_"))
        raise ValueError(f"{option} must name one of {names} in {module.__name__}, got {place!r}")
    return getattr(module, last)


def made(found: Any, arguments: Mapping[str, Any], place: str, option: str) -> Any:
    """Returns what stands at a place, called with arguments if it is a class or has any.

    Raises:
        ValueError: If it cannot be called with them.
    """
    if not arguments and not inspect.isclass(found):
        return found
    try:
        inspect.signature(found).bind(**arguments)
    except TypeError as error:
        raise ValueError(f"{option} must name arguments that {place} takes: {error}") from error
    return found(**arguments)


def digest_of_source(place: str, option: str) -> str:
    """Returns the SHA-256 of the file in which a name stands; raises as `load_object`."""
    file = _module(place, option).__file__
    return hashlib.sha256(Path(file).read_bytes() if file else b"").hexdigest()


def _module(place: str, option: str) -> ModuleType:
    where = place.rpartition(":")[0]
    if where.endswith(_SUFFIX):
        return _module_of_file(Path(where), place, option)
    try:
        found = importlib.util.find_spec(where)
    except ModuleNotFoundError as error:
        if not f"{where}.".startswith(f"{error.name}."):  # but something that its package imports
            raise
        found = None
    if found is None:
        raise ValueError(f"{option} must name a module that can be imported, got {place!r}")
    return importlib.import_module(where)


def _module_of_file(path: Path, place: str, option: str) -> ModuleType:
    """Imports a file, once; what lies beside it can be imported from it, as from a script."""
    if not path.is_file():
        raise ValueError(f"{option} must name a file that exists, got {place!r}")
    path = path.resolve()
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
