"""The reference: a page for each public module, and one for each reward, wrapper and learner.

What is public is what modules list in `__all__`. Knows nothing of what the names mean.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import pydoc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = ("text_gym", "agents")
FOLDERS = {
    "agents": "reference/agents",
    "text_gym.rewards": "rewards",
    "text_gym.wrappers": "wrappers",
}
"""Modules each class of which has a page of its own, and the folder of these pages."""

SHARED = (
    "agents.algorithms.episodic_learner.EpisodicLearner",
    "agents.algorithms.configs.policy_gradient.PolicyGradientConfig",
)
"""Bases of what is public, to whose arguments its docstrings refer."""

FOREIGN = (
    "ABC, Enum, Env, Exception, Module, TextGenEnv, TextGenVectorEnv, VectorEnv, VectorWrapper, "
    "Wrapper, int, str, tuple"
)
"""Classes whose members are documented elsewhere, and not again with each class that has them."""

ELSEWHERE = {"text_gym.TextGenEnv": "environments/TextGen"}
"""Names that are documented on a page which is not written here."""


def write(docs: Path) -> None:
    """Writes all pages."""
    for page, text in pages().items():
        path = docs / f"{page}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@cache
def public_names() -> dict[str, list[str]]:
    """Returns the public names of each module that lists any, in the order of the modules."""
    names = (name for package in PACKAGES for name in _modules_below(package))
    modules = map(importlib.import_module, filter(_lists_names, names))
    return {one.__name__: sorted(one.__all__) for one in modules}


def _lists_names(module: str) -> bool:
    """Tells whether a module has `__all__`, without importing it: some are commands."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return "\n__all__" in Path(spec.origin).read_text(encoding="utf-8")


def _modules_below(package: str) -> Iterator[str]:
    yield package
    path = importlib.import_module(package).__path__
    yield from (module.name for module in pkgutil.walk_packages(path, f"{package}."))


@cache
def target_of(code: str) -> str | None:
    """Returns the full public name that somebody means by `code`, if there is just one."""
    name = code.removesuffix("()")
    full = [f"{module}.{one}" for module, names in public_names().items() for one in names]
    if name in full:
        return name
    found = [one for one in full if one.rpartition(".")[2] == name and ".vector." not in one]
    return found[0] if found and name[0].isupper() else None


def pages() -> dict[str, str]:
    """Returns the text of each page by its place below `docs`."""
    written = {"reference/README": _index()}
    for module, names in public_names().items():
        written[f"reference/{module}"] = _module_page(module, names)
        if module in FOLDERS:
            own = [name for name in names if _has_own_page(module, name)]
            written |= {f"{FOLDERS[module]}/{name}": _name_page(module, name) for name in own}
    for folder in ("rewards", "wrappers"):
        written[f"{folder}/README"] = _folder_page(folder)
    return written


def _index() -> str:
    entries = "\n".join(public_names())
    return (
        "# API reference\n\nEvery public name, from its docstring. What no module lists in "
        "`__all__` may change without notice.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"
    )


def _folder_page(folder: str) -> str:
    return (
        f"# {folder.capitalize()}\n\n```{{eval-rst}}\n"
        f".. automodule:: text_gym.{folder}\n   :no-index:\n```\n\n"
        "```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"
    )


def _module_page(module: str, names: list[str]) -> str:
    here = [name for name in names if _place(module, name) is None]
    linked = [
        f"- [`{name}`]({_link(module, name)}): {pydoc.getdoc(_value(module, name)).splitlines()[0]}"
        for name in names
        if name not in here
    ]
    parts = [f"# {module}", directive("automodule", module)]
    if linked:
        parts.append("With pages of their own:\n\n" + "\n".join(linked))
    parts += [directive(_kind(_value(module, name)), f"{module}.{name}") for name in here]
    if module == "agents":
        parts += ["## What learners share", *(directive("autoclass", name) for name in SHARED)]
        parts.append("```{toctree}\n:hidden:\n:glob:\n\nagents/*\n```")
    return "\n\n".join(parts) + "\n"


def _name_page(module: str, name: str) -> str:
    parts = [f"# {name}", directive(_kind(_value(module, name)), f"{module}.{name}")]
    if module == "text_gym.wrappers":
        parts += ["## For vector environments", directive("autoclass", f"{module}.vector.{name}")]
    return "\n\n".join(parts) + "\n"


def directive(kind: str, name: str) -> str:
    """Returns what has Sphinx document a name, its members included."""
    members = f"   :members:\n   :inherited-members: {FOREIGN}\n" if kind == "autoclass" else ""
    return f"```{{eval-rst}}\n.. {kind}:: {name}\n{members}```"


def _value(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _kind(value: Any) -> str:
    """Returns the directive that documents a value."""
    if inspect.isclass(value):
        return "autoexception" if issubclass(value, Exception) else "autoclass"
    return "autofunction" if inspect.isroutine(value) else "autodata"


def _has_own_page(module: str, name: str) -> bool:
    """Tells whether a page of its own is written for a name of a module."""
    value = _value(module, name)
    return module in FOLDERS and (module == "agents" or _kind(value) == "autoclass")


def _place(module: str, name: str) -> str | None:
    """Returns the page of a name that is not documented on its module's page."""
    full = f"{module}.{name}"
    if inspect.ismodule(_value(module, name)):
        return f"reference/{full}"
    if module == "text_gym.wrappers.vector":
        return f"wrappers/{name}"
    return f"{FOLDERS[module]}/{name}" if _has_own_page(module, name) else ELSEWHERE.get(full)


def _link(module: str, name: str) -> str:
    place = str(_place(module, name))
    return f"{place.removeprefix('reference/')}.md" if "reference/" in place else f"../{place}.md"
