"""What a toy task is made from and made into: its parameters, and the arguments of `TextGenEnv`."""

from __future__ import annotations

from typing import Any, TypeAlias

Arguments: TypeAlias = dict[str, Any]
"""Keyword arguments of `TextGenEnv`."""


def require(argument: str, value: int, least: int, most: int | None = None) -> None:
    """Raises ValueError unless a parameter of a task lies in its range."""
    if value < least or (most is not None and value > most):
        rule = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{argument} must be {rule}, got {value}")
