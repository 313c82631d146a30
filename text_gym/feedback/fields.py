"""What the fields of a JSON object may be. Knows nothing of what an object stands for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from text_gym.quoting import quoted

Kind = TypeVar("Kind")


def require_object(value: Any, known: Collection[str], where: str) -> Mapping[str, Any]:
    """Returns a JSON object all of whose fields are known.

    Args:
        value: What was read.
        known: The fields that it may have.
        where: What it is and where it stands, for the message.

    Raises:
        ValueError: If it is no object, or has a field of another name.

    Example:
        >>> require_object({"text": "Hi"}, ["text", "role"], "turn")
        {'text': 'Hi'}
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a JSON object, got {quoted(value)}")
    unknown = [name for name in value if name not in known]
    if unknown:
        fields = ", ".join(known)
        raise ValueError(f"{where} may have the fields {fields}, got {quoted(unknown[0])}")
    return value


def field_of(
    row: Mapping[str, Any], name: str, kind: type[Kind], default: Kind, where: str
) -> Kind:
    """Returns a field of an object, or the default if it has none.

    Raises:
        ValueError: If it is of another kind; True and False are no numbers.

    Example:
        >>> field_of({"weight": 2}, "weight", float, 1.0, "annotator")
        2.0
    """
    value = row.get(name, default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} of {where} must be a {kind.__name__}, got {quoted(value)}")
    return value


def choice_of(
    row: Mapping[str, Any], name: str, choices: Collection[str], default: str, where: str
) -> str:
    """Returns a field that is one of a few words, or the default if there is none.

    Raises:
        ValueError: If it is another one.
    """
    value = row.get(name, default)
    if value not in choices:
        raise ValueError(
            f"{name} of {where} must be one of {', '.join(choices)}, got {quoted(value)}"
        )
    return str(value)
