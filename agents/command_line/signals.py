"""Ctrl-C, and what a machine sends before it goes down: SIGINT and SIGTERM, listened to alike.

Knows signals and no more, so that a command can listen before anything heavy is loaded.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = "\nStopping after the update under way; once more to stop at once.\n"


class Signalled(KeyboardInterrupt):
    """A signal that stops the program.

    A class of its own, because Python notes that a KeyboardInterrupt left some code, as those of
    its imports do, and then ends by SIGINT whatever becomes of it.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """Raises `Signalled`, which is a KeyboardInterrupt, at SIGINT and SIGTERM.

    Listens as a context manager. Within `deferred`, the first signal is only noted. A signal that
    the process was started to ignore (`trap '' INT`) stays ignored.

    Attributes:
        signal: The signal that came; None if none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._deferring = False
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Begins to listen; outside of the main thread, where Python cannot, does nothing."""
        if threading.current_thread() is threading.main_thread():
            heard = [one for one in _SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
            self._earlier = {number: signal.signal(number, self._note) for number in heard}
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

    def _note(self, number: int, frame: FrameType | None) -> None:
        at_once = self.signal is not None or not self._deferring
        self.signal = number
        if at_once:
            raise Signalled(number)
        with suppress(BrokenPipeError):  # nobody reads it
            os.write(2, _NOTICE.encode())  # what holds a lock, as printing does, may be interrupted


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """Returns what a shell expects of a process that a signal ended: 130 after Ctrl-C."""
    return 128 + (interrupt.number if isinstance(interrupt, Signalled) else signal.SIGINT)
