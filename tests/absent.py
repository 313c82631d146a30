"""A library as if it were not installed. Knows none by name."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from typing import Any


class Without:
    """Finds what another finder of modules does, but for one library and what is in it."""

    def __init__(self, finder: Any, library: str) -> None:
        self.finder, self.library = finder, library

    def find_spec(self, name: str, *arguments: Any) -> ModuleSpec | None:
        missing = name.partition(".")[0] == self.library
        return None if missing else self.finder.find_spec(name, *arguments)


def finders_without(library: str) -> list[Any]:
    """Returns what `sys.meta_path` would find if it were not there."""
    return [Without(finder, library) for finder in sys.meta_path]
