"""How a check fails: with the rule, the place and the value, in one message."""

from __future__ import annotations

from typing import Any

NOTHING = object()


class ConformanceError(AssertionError):
    """Says which rule was broken, where, and by what."""


def require(holds: Any, where: str, rule: str, got: Any = NOTHING) -> None:
    """Raises ConformanceError unless `holds`.

    Args:
        holds: Whether the rule is kept.
        where: The place: which episode, step, row.
        rule: The rule, as "... must ...".
        got: What broke it, shown unless the rule says it already.

    Example:
        >>> require(1 + 1 == 3, "step 4", "a sum must be 3", 1 + 1)
        Traceback (most recent call last):
        ...
        text_gym.checks.failure.ConformanceError: step 4: a sum must be 3, got 2
    """
    if not holds:
        raise ConformanceError(f"{where}: {rule}{_shown(got)}")


def _shown(got: Any, limit: int = 300) -> str:
    if got is NOTHING:
        return ""
    text = repr(got)
    return f", got {text if len(text) <= limit else f'{text[:limit]}...'}"
