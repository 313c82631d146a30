"""Ctrl-C, and what a machine sends before it goes down: a run ends in order.

Knows signals and no more; what is saved is another callback's business.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from agents.agent import Agent
from agents.callbacks import Callback
from agents.distributed import processes

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = "\nStopping after the update under way; once more to stop at once.\n"


class Interruption(Callback):
    """Stops training after the update in which SIGINT or SIGTERM arrives.

    As a context manager it listens to the signals. Outside of `deferred`, and the second time, a
    signal raises KeyboardInterrupt at once.

    Attributes:
        signal: The signal that came; None if none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._deferring = False
        self._earlier: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended: 130 after Ctrl-C."""
        return 128 + (self.signal or signal.SIGINT)

    def __enter__(self) -> Self:
        """Begins to listen; outside of the main thread, where Python cannot, does nothing."""
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        """Restores what the signals did before."""
        for number, earlier in self._earlier.items():
            signal.signal(number, earlier)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Lets what goes on inside end in order."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    def stop_if_asked(self) -> None:
        """Raises KeyboardInterrupt if a signal came, to this process or to one it learns with."""
        if any(processes.all_gather_object(self.signal is not None)):
            raise KeyboardInterrupt

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Returns whether nobody asked to stop."""
        return self.signal is None

    def _note(self, number: int, frame: FrameType | None) -> None:
        at_once = self.signal is not None or not self._deferring
        self.signal = number
        if at_once:
            raise KeyboardInterrupt
        os.write(2, _NOTICE.encode())  # what holds a lock, as printing does, may be interrupted
