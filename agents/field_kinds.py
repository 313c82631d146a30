"""Of which kind the fields of a config are, by their annotations.

Knows no config and no field by name. Without torch.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any


def require_kinds(config: Any) -> None:
    """Checks that every field of a dataclass is of the kind that its annotation says.

    An int is a float too; a bool is neither.

    Raises:
        ValueError: If one is not; the message names field, kind and value.

    Example:
        >>> @dataclasses.dataclass
        ... class Config:
        ...     n_epochs: int | None
        >>> require_kinds(Config(1.5))
        Traceback (most recent call last):
        ValueError: n_epochs must be an int or None, got 1.5
    """
    kinds = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not is_of(value, kinds[field.name]):
            rule = described_kind(kinds[field.name])
            raise ValueError(f"{field.name} must be {rule}, got {value!r:.100}")


def kinds_of(kind: Any) -> tuple[Any, ...]:
    """Returns the kinds of a union; of anything else, itself."""
    union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    return typing.get_args(kind) if union else (kind,)


def is_of(value: Any, kind: Any) -> bool:
    """Returns whether a value is what an annotation says: a class, a literal, a tuple, a union."""
    return any(_is_of_one(value, one) for one in kinds_of(kind))


def _is_of_one(value: Any, kind: Any) -> bool:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return any(type(value) is type(one) and value == one for one in parts)
    if origin is tuple:  # of any length
        return isinstance(value, tuple) and all(is_of(one, parts[0]) for one in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def described_kind(kind: Any) -> str:
    """Returns what an annotation asks for, as it stands in a sentence."""
    return " or ".join(map(_described_one, kinds_of(kind)))


def _described_one(kind: Any) -> str:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(map(repr, parts))
    if origin is tuple:
        return f"a tuple, each part {described_kind(parts[0])}"
    if kind is types.NoneType:
        return "None"
    name = str(kind.__name__)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
