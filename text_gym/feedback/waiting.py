"""Waiting until people have said enough of some items, and what is declared for when they do not.

The study is served by another process; nothing passes between the two but rows on disk. Knows
nothing of what is asked.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from text_gym.feedback.answers import Mode
from text_gym.feedback.items import Item
from text_gym.feedback.owner import served_at
from text_gym.feedback.store import Store
from text_gym.feedback.study import Study, open_study
from text_gym.quoting import quoted

_T = TypeVar("_T")
POLICIES = ("wait", "skip", "stop")
_LOOK_SECONDS = 0.2
"""Between two looks at the store."""


class WaitsForPeople:
    """Adds items to a study and waits for what people say of them: a reward, or a partner.

    Args:
        study: The folder.
        modes: That its study may have.
        on_timeout: One of `POLICIES`, or, no word, what stands for people who say nothing.
        timeout: Seconds.
        otherwise: What `on_timeout` may be that is no word.

    Attributes:
        skipped: How often so far nothing was said in time.

    Raises:
        FileNotFoundError: If there is no study.
        ValueError: If the study is of another mode, `on_timeout` is another word, or `timeout` is
            not above 0.
    """

    def __init__(
        self,
        study: Path | str,
        modes: Sequence[Mode],
        on_timeout: Any,
        timeout: float,
        otherwise: str,
    ) -> None:
        self.study = open_study(Path(study))
        if self.study.config.mode not in modes:
            raise ValueError(
                f"study must be of mode {' or '.join(modes)}, got {self.study.config.mode} of "
                f"{quoted(str(study))}"
            )
        if isinstance(on_timeout, str) and on_timeout not in POLICIES:
            raise ValueError(
                f"on_timeout must be one of {', '.join(POLICIES)}, or {otherwise}, "
                f"got {quoted(on_timeout)}"
            )
        if not timeout > 0:
            raise ValueError(f"timeout must be above 0 seconds, got {timeout}")
        self.policy = on_timeout if isinstance(on_timeout, str) else "fall back"
        self.timeout = timeout
        self.skipped = 0

    def heard(self, items: Iterable[Item], read: Callable[[Store], _T]) -> _T:
        """Returns what `read` finds once all items are judged, or the time is over."""
        asked = {item.id: item for item in items}
        with self.study.open() as store:
            store.items.add(asked.values())
            self._wait(store, list(asked))
            return read(store)

    def count_silence(self, n: int, rule: str) -> None:
        """Takes note of what nobody spoke of in time.

        Raises:
            TimeoutError: If there is any, and the policy is "stop"; says the rule.
        """
        if n and self.policy == "stop":
            raise TimeoutError(
                f"{rule} within {self.timeout:g} s, but of {n} nothing was said in the study "
                f"{quoted(str(self.study.folder))}"
            )
        self.skipped += n

    def _wait(self, store: Store, items: Sequence[str]) -> None:
        over = math.inf if self.policy == "wait" else time.monotonic() + self.timeout
        overlap = self.study.config.overlap, self.study.config.max_overlap
        if store.items.waiting(items, overlap):
            _warn_if_not_served(self.study)
        while store.items.waiting(items, overlap) and time.monotonic() < over:
            time.sleep(_LOOK_SECONDS)

    def __repr__(self) -> str:
        """Shows study and policy."""
        folder = str(self.study.folder)
        return f"{type(self).__name__}({folder!r}, on_timeout={self.policy!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Returns itself, so that `skipped` counts in one place."""
        return self


def _warn_if_not_served(study: Study) -> None:
    if served_at(study.folder) is None:
        warnings.warn(
            f"texts wait to be judged, but nobody serves the study {quoted(str(study.folder))}: "
            f"python -m text_gym.feedback serve {study.folder}",
            RuntimeWarning,
            stacklevel=5,
        )
