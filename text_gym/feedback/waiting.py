"""Waiting until people have said enough of some items, and what is declared for when they do not.

The study is served by another process; nothing passes between the two but rows on disk. Knows
nothing of what is asked.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from typing import Any

from text_gym.feedback.owner import served_at
from text_gym.feedback.store import Store
from text_gym.feedback.study import Study
from text_gym.quoting import quoted

POLICIES = ("wait", "skip", "stop")
_LOOK_SECONDS = 0.2
"""Between two looks at the store."""


def require_policy(on_timeout: Any, timeout: float, otherwise: str) -> None:
    """Refuses what says nothing of how to go on.

    Args:
        on_timeout: One of `POLICIES`, or anything that is no word.
        timeout: Seconds.
        otherwise: What it may be that is no word.

    Raises:
        ValueError: If it is another word, or `timeout` is not above 0.
    """
    if isinstance(on_timeout, str) and on_timeout not in POLICIES:
        raise ValueError(
            f"on_timeout must be one of {', '.join(POLICIES)}, or {otherwise}, "
            f"got {quoted(on_timeout)}"
        )
    if not timeout > 0:
        raise ValueError(f"timeout must be above 0 seconds, got {timeout}")


def wait_until_judged(
    study: Study, store: Store, items: Sequence[str], timeout: float = math.inf
) -> None:
    """Returns when all items are judged as often as the study asks, or the time is over.

    Args:
        study: The settings.
        store: Its rows, the items among them.
        items: Their ids.
        timeout: Seconds from now.
    """
    over = time.monotonic() + timeout
    overlap = study.config.overlap, study.config.max_overlap
    if store.items.waiting(items, overlap):
        _warn_if_not_served(study)
    while store.items.waiting(items, overlap) and time.monotonic() < over:
        time.sleep(_LOOK_SECONDS)


def _warn_if_not_served(study: Study) -> None:
    if served_at(study.folder) is None:
        warnings.warn(
            f"texts wait to be judged, but nobody serves the study {quoted(str(study.folder))}: "
            f"python -m text_gym.feedback serve {study.folder}",
            RuntimeWarning,
            stacklevel=4,
        )
