"""Where the time goes: seconds by name of the part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import torch


class Timer:
    """Adds up wall-clock seconds by name; on a GPU, those until its work is done.

    Args:
        device: Where the work is done.

    Example:
        >>> timer = Timer()
        >>> with timer("train"):
        ...     pass
        >>> list(timer.seconds)
        ['train']
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._asynchronous = device is not None and device.type == "cuda"

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Adds the time until the end of the block to `name`."""
        start = self._now()
        try:
            yield
        finally:
            self.seconds[name] += self._now() - start

    def _now(self) -> float:
        if self._asynchronous:
            torch.cuda.synchronize()
        return perf_counter()
