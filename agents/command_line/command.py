"""What every command needs, where its output goes, and how it ends.

Every end is a line or two that say what happened and which command goes on, with an exit status of
its kind. Knows nothing of what a command does, and loads no torch.
"""

from __future__ import annotations

import dis
import io
import os
import shlex
import sys
import sysconfig
import threading
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NoReturn, TextIO

from agents.command_line.signals import Signalled, Signals, exit_status
from agents.command_line.threads import wait_briefly

_EXTRA = "train"
_LIBRARIES = ("matplotlib", "rich", "safetensors", "tensorboard", "tyro")
"""What the extra installs."""


@contextmanager
def command(name: str) -> Iterator[None]:
    """Surrounds the `main` of `python -m agents.<name>`, as its decorator.

    An error that somebody foresaw, and whatever the machine refuses (room, access, a missing
    library), ends the program with status 1 and no traceback but that of the user's own code, where
    this was the cause; SIGINT and SIGTERM end it with 130
    and 143; the command line itself with 2. A traceback is left to errors that nobody foresaw.

    Args:
        name: Of the module within `agents`.
    """
    again = command_line(f"agents.{name}", *sys.argv[1:])
    wait_briefly()
    with _lasting("stdout"), _lasting("stderr"), _brief_threads(), Signals() as signals:
        try:
            _require_extra(name)
            yield
            sys.stdout.flush()
        except SystemExit:
            raise
        except BaseException as error:
            if signals.signal is not None and not isinstance(error, KeyboardInterrupt):
                # What is written in C may turn an interrupt into an error of its own.
                error = Signalled(signals.signal)
            _end(error, again)
            raise


def command_line(module: str, *arguments: str, n_processes: int | None = None) -> str:
    """Returns what to type to start a module of ours, with as many processes as there are now.

    Args:
        module: Its dotted name.
        arguments: Unquoted.
        n_processes: That learn together; None: as many as were started together with this one.
    """
    n = int(os.environ.get("WORLD_SIZE", "1")) if n_processes is None else n_processes
    launcher = ["python"] if n == 1 else ["torchrun", "--nproc_per_node", str(n)]
    return shlex.join([*launcher, "-m", module, *arguments])


def end(status: int, *lines: str) -> NoReturn:
    """Ends the program with lines on the standard error output."""
    if sys.stderr is not None:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
    raise SystemExit(status)


def trouble(error: BaseException) -> str | None:
    """Returns in one line what the machine refused, or None if the error is of another kind."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    # safetensors has its own error for a full disk; it may not be installed.
    return _one_line(error) if type(error).__name__ == "SafetensorError" else None


def _end(error: BaseException, again: str) -> None:
    """Ends the program if there is a line that explains the error."""
    if isinstance(error, KeyboardInterrupt):
        end(exit_status(error), *_of_main(f"Stopped; start again with: {again}"))
    own, notes = users_traceback(error), getattr(error, "__notes__", [])
    refused = trouble(error)
    if refused is not None:
        mended = notes or [f"When that is mended: {again}"]
        end(1, *own, f"{_process()}{refused}", *_of_main(*mended))
    if isinstance(error, OSError) or _is_missing_library(error) or _is_raised_by_us(error):
        end(1, *own, f"{_process()}{_one_line(error)}", *_of_main(*notes))
    if own:
        end(1, *own, *_of_main(*notes))


def users_traceback(error: BaseException) -> list[str]:
    """Returns where the user's own code raised an error, or what an error of ours says of it.

    Returns:
        Lines, from the first step in that code on; none where it has no part in the error.
    """
    before = error.__cause__ if error.__suppress_context__ else error.__context__
    for one in (before, error):
        steps = [] if one is None else list(traceback.walk_tb(one.__traceback__))
        first = next((place for place, (frame, _) in enumerate(steps) if _is_users(frame)), None)
        if one is not None and first is not None:
            shown = traceback.StackSummary.extract(iter(steps[first:])).format()
            lines = ["Traceback (most recent call last):\n", *shown]
            said = traceback.TracebackException.from_exception(one)
            said.__notes__ = None  # which are shown after it
            return "".join([*lines, *said.format_exception_only()]).splitlines()
    return []


def _is_users(frame: types.FrameType) -> bool:
    """Tells code of the user's from ours and from what is installed."""
    file, installed = frame.f_code.co_filename, sysconfig.get_paths()
    libraries = tuple(f"{installed[kind]}{os.sep}" for kind in ("stdlib", "purelib", "platlib"))
    return (
        not is_ours(_module_of(frame)) and os.path.isfile(file) and not file.startswith(libraries)
    )


def _is_raised_by_us(error: BaseException) -> bool:
    """Tells a rule of ours from a mistake: it comes from a `raise` statement in our packages."""
    entry = error.__traceback__
    if entry is None or isinstance(error, AssertionError):
        return False
    while entry.tb_next is not None:
        entry = entry.tb_next
    frame = entry.tb_frame
    raises = frame.f_code.co_code[entry.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return raises and is_ours(_module_of(frame))


def _module_of(frame: types.FrameType) -> str:
    """Returns the name of a frame's module, of the one that was started by `-m` too."""
    spec = frame.f_globals.get("__spec__")
    return str(frame.f_globals.get("__name__") if spec is None else spec.name)


def _is_missing_library(error: BaseException) -> bool:
    return isinstance(error, ModuleNotFoundError) and not is_ours(error.name or "")


def is_ours(module: str) -> bool:
    """Tells a module of this package by its dotted name."""
    return module.partition(".")[0] in ("agents", "text_gym")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _of_main(*lines: str) -> list[str]:
    return list(lines) if _rank() == 0 else []


def _process() -> str:
    return f"process {_rank()}: " if _rank() else ""


def _require_extra(name: str) -> None:
    missing = [library for library in _LIBRARIES if not _is_installed(library)]
    if missing:
        raise ModuleNotFoundError(
            f"agents.{name} needs {', '.join(missing)}: pip install 'text-gym[{_EXTRA}]'"
        )


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except (ImportError, ValueError):  # an import hook that refuses it
        return False


@contextmanager
def _brief_threads() -> Iterator[None]:
    """Lets threads say in a line what the machine refused them; who waits for one fails too."""

    def hook(arguments: threading.ExceptHookArgs) -> None:
        refused = None if arguments.exc_value is None else trouble(arguments.exc_value)
        if refused is None or sys.stderr is None:
            before(arguments)
        else:
            sys.stderr.write(f"{refused}\n")

    before, threading.excepthook = threading.excepthook, hook
    try:
        yield
    finally:
        threading.excepthook = before


class _Output(io.FileIO):
    """A file descriptor that fails once at most; after that, what is written goes nowhere.

    Not even once where a reader has gone (`| head -1`): that is no reason to stop a run.
    """

    _gone = False

    def write(self, data: Any, /) -> int:
        if self._gone:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self._gone = True
            if not isinstance(error, BrokenPipeError):
                raise
            return len(data)


@contextmanager
def _lasting(name: str) -> Iterator[None]:
    """Lets the program outlive the reader of one of its outputs, and any character in it.

    What the output's encoding lacks is written as an escape. An output that is not the process's
    own, such as a notebook's, is left alone.
    """
    stream: TextIO | None = getattr(sys, name)
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    if stream is None or stream is not getattr(sys, f"__{name}__") or type(raw) is not io.FileIO:
        yield
        return
    output = io.BufferedWriter(_Output(raw.fileno(), "wb", closefd=False))
    lasting = io.TextIOWrapper(output, stream.encoding, "backslashreplace", line_buffering=True)
    setattr(sys, name, lasting)
    try:
        yield
    finally:
        setattr(sys, name, stream)
        lasting.flush()  # and not closed: loggers may keep it
