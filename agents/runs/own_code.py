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
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from agents.command_line.command import is_ours

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


def is_in_this_package(place: str) -> bool:
    """Tells a place in a module of this package from one in the user's code."""
    return _file_of(place) is None and is_ours(place.rpartition(":")[0])


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
    module, last = load_module(place, option), place.rpartition(":")[2]
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
    return called(found, (), arguments, place, option)


def called(
    found: Callable[..., Any],
    positional: tuple[Any, ...],
    arguments: Mapping[str, Any],
    place: str,
    option: str,
) -> Any:
    """Returns what a function or class makes of arguments.

    Raises:
        ValueError: If it cannot be called with them.
    """
    try:
        inspect.signature(found).bind(*positional, **arguments)
    except TypeError as error:
        raise ValueError(f"{option} must name arguments that {place} takes: {error}") from error
    return found(*positional, **arguments)


def with_objects(value: Any, option: str) -> Any:
    """Returns a value of JSON with what stands there for every place in a file; see `load_object`.

    Only those: a text such as `a:b` may mean anything else.
    """
    return _replaced(value, lambda place: load_object(place, option))


def with_anchored_places(value: Any) -> Any:
    """Returns a value of JSON whose places in files are found from any working folder."""
    return _replaced(value, anchored_place)


def with_digests(value: Any) -> Any:
    """Returns a value of JSON with what identifies it for every place in a file."""
    return _replaced(value, identity)


def with_origins(value: Any) -> Any:
    """Returns a value of JSON with the origin of every place in a file."""
    return _replaced(value, origin)


def _replaced(value: Any, replace: Callable[[str], Any]) -> Any:
    if isinstance(value, Mapping):
        return {name: _replaced(part, replace) for name, part in value.items()}
    if isinstance(value, list):
        return [_replaced(part, replace) for part in value]
    in_a_file = isinstance(value, str) and is_place(value) and _file_of(value) is not None
    return replace(value) if in_a_file else value


def identity(name: str) -> list[str]:
    """Returns what identifies a name of ours, or a place in code wherever its file lies.

    Imports nothing. What the code imports has no part in it.
    """
    return [name.rpartition(":")[2], digest_of_source(name)] if ":" in name else [name]


def origin(place: str) -> list[str]:
    """Returns what identifies code that lies where it does, among its own neighbours.

    A copy elsewhere is another: what lies beside it, and is imported, may say something else.
    """
    return [anchored_place(place), str(_source_of(place)), digest_of_source(place)]


def digest_of_source(place: str) -> str:
    """Returns the SHA-256 of the file in which a name stands, which is not run.

    Raises:
        ValueError: If there is no such file.
    """
    return hashlib.sha256(_source_of(place).read_bytes()).hexdigest()


def _source_of(place: str) -> Path:
    path = _file_of(place) or _file_of_module(place.rpartition(":")[0])
    if path is None or not path.is_file():
        raise ValueError(f"code that a run names must stand in a file that exists, got {place!r}")
    return path.resolve()


def _file_of(place: str) -> Path | None:
    """Returns the file that a place names; None: it names a module."""
    where = place.rpartition(":")[0]
    return Path(where) if where.endswith(_SUFFIX) else None


def _file_of_module(dotted: str) -> Path | None:
    """Returns where a module is, as `import` would find it, without importing its packages."""
    folders, spec = None, None
    parts = dotted.split(".")
    for n in range(len(parts)):
        name = ".".join(parts[: n + 1])
        found = (finder.find_spec(name, folders) for finder in sys.meta_path)
        spec = next((one for one in found if one is not None), None)
        if spec is None:
            return None
        folders = spec.submodule_search_locations
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def load_module(place: str, option: str) -> ModuleType:
    """Returns the module in which a place is; raises as `load_object`."""
    where, path = place.rpartition(":")[0], _file_of(place)
    if path is not None:
        return _module_of_file(path, place, option)
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
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        try:
            # Not by its loader, which runs a .pyc instead, and that may say something else.
            code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
            exec(code, module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
