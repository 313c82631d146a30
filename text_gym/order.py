"""Whether what somebody listed has an order. Knows nothing of what is listed."""

from __future__ import annotations

from collections.abc import Reversible, Set
from typing import Any


def require_order(listed: Any, argument: str) -> None:
    """Raises TypeError for a set: its order changes from one process to the next.

    Args:
        listed: Anything; the keys of a dict are in order.
        argument: Its name, for the message.
    """
    if isinstance(listed, Set) and not isinstance(listed, Reversible):
        raise TypeError(
            f"{argument} must be in an order, or numbers and seeds would mean something else in "
            f"every process; give sorted({argument}), got a {type(listed).__name__}"
        )
