"""Where the time goes: seconds by name of the part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """Adds up wall-clock seconds by name.

    Example:
        >>> stopwatch = Stopwatch()
        >>> with stopwatch("train"):
        ...     pass
        >>> list(stopwatch.seconds)
        ['train']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Adds the time until the end of the block to `name`."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += perf_counter() - start
