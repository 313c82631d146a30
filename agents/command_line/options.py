"""The options of a command: a dataclass, whose fields' docstrings are the help.

Knows no option by name. It needs tyro, so that a command imports it only once the extra is there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

T = TypeVar("T")
Help = str | Callable[[], str | None] | None


def read_options(kind: Callable[..., T], *, prog: str, **arguments: Any) -> T:
    """Returns what the command line says, as an instance of a dataclass.

    Args:
        kind: The dataclass, or several in a union, which are subcommands.
        prog: The command, as it is typed.
        **arguments: Of `tyro.cli`.
    """
    options: T = tyro.cli(kind, prog=prog, registry=_registry(), **arguments)
    return options


def _registry() -> ConstructorRegistry:
    """Returns tyro's own rule for dataclasses, with help that a terminal may wrap by itself."""
    registry, asking = ConstructorRegistry(), False

    @registry.struct_rule
    def readable(info: StructTypeInfo) -> StructConstructorSpec | None:
        nonlocal asking
        if asking or not dataclasses.is_dataclass(info.type):
            return None
        asking = True  # so that this rule is passed over, and the next one found
        try:
            spec: Any = ConstructorRegistry.get_struct_spec(info)
        finally:
            asking = False
        if not isinstance(spec, StructConstructorSpec):
            return spec  # type: ignore[no-any-return]  # an error of the default
        return dataclasses.replace(spec, fields=tuple(map(_readable, spec.fields)))

    return registry


def _readable(field: StructFieldSpec) -> StructFieldSpec:
    """Returns an option whose help flows, and whose default is shown as a shell takes it."""
    kind: Any = field.type
    if isinstance(field.default, str) and "\n" in field.default:
        kind = Annotated[kind, tyro.conf.arg(help_behavior_hint=_escaped)]
    return dataclasses.replace(field, type=kind, helptext=lambda: _flowing(field.helptext))


def _flowing(said: Help) -> str | None:
    """Returns help without the line breaks that its indented source has.

    tyro takes an indented line for an item of a list, and keeps the break before it.
    """
    text = said() if callable(said) else said
    if text is None:
        return None
    return "\n\n".join(" ".join(one.split()) for one in text.split("\n\n"))


def _escaped(default: str) -> str:
    """Shows a default that has line breaks, which tyro has quoted."""
    text = default.replace("\\", "\\\\").replace("\n", "\\n")
    return f"(default: ${text})"
