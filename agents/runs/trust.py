"""Which code the folders of runs may name and have run: what this user has run here before.

A folder may come from anybody, and whoever wrote its config wrote all else in it too, so nothing in
the folder can vouch for the code that the config names. What does is a record in the cache folder:
digests of code, of where it lies and of its arguments, written when a run is begun here or when the
user says so. Knows nothing of what the code is for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.runs.named_arguments import arguments_of
from agents.runs.own_code import is_in_this_package, is_place, origin, with_origins
from text_gym.cache import cache_folder

FILE = "trusted_code.txt"
"""In the cache folder: a digest a line."""
_OPTIONS = ("reward", "monitor", "select_by", "wrappers", "env_id", "env_args")
"""What may name code."""


def trust(options: Mapping[str, Any]) -> None:
    """Puts the code that the options of a run name on record.

    Raises:
        ValueError: If there is no such code.
    """
    digest = digest_of_code(options)
    if digest is not None and digest not in _record():
        path = cache_folder() / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{digest}\n")


def require_trusted(options: Mapping[str, Any], path: Path) -> None:
    """Refuses options that name code which is not on record; none of it has been run yet.

    Args:
        options: Of a run, that were read back.
        path: Where they were read.

    Raises:
        ValueError: If there is such code, which is named; or if it is not where it should be.
    """
    digest = digest_of_code(options)
    if digest is None or digest in _record():
        return
    raise ValueError(
        f"{path} names code that was not run from here before, or has changed since, as "
        f"{ {name: options[name] for name in _named(options)} }: read it, and if it is to be run "
        "give --trust-code too"
    )


def digest_of_code(options: Mapping[str, Any]) -> str | None:
    """Returns the SHA-256 of all code that a run names, with its arguments; None: it names none.

    The code itself is read and not run. What it imports has no part in it, but where it lies has.
    """
    named = _named(options)
    return hashlib.sha256(json.dumps(named).encode()).hexdigest() if named else None


def _named(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what identifies the code in each option that names some."""
    texts = {name: options.get(name) for name in _OPTIONS}
    said = {name: _identified(name, text) for name, text in texts.items() if isinstance(text, str)}
    return {name: one for name, one in said.items() if one is not None}


def _identified(option: str, text: str) -> Any:
    """Returns what an option says, with origins in the place of code; None: it names no code."""
    if option == "env_id":  # which is imported, and not called: modules of ours do no harm
        return origin(text) if ":" in text and not is_in_this_package(text) else None
    if not text.lstrip().startswith("{"):
        return origin(text) if is_place(text) else None
    said = [[name, about] for name, about in arguments_of(text, option).items()]
    found = [[origin(one) if is_place(one) else one, with_origins(about)] for one, about in said]
    return None if found == said else found


def _record() -> set[str]:
    path = cache_folder() / FILE
    return set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()
