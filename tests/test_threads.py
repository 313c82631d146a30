"""How many threads compute, and what the environment says about it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from agents.command_line import threads
from agents.command_line.threads import number_of_threads


@pytest.mark.parametrize(
    ("asked", "environment", "cores", "used"),
    [
        (3, "1", 2, 3),
        (None, "5", 2, 5),
        (None, " 4,2", 2, 4),
        (None, "", 8, 2),
        (None, None, 8, 2),
        (None, None, 1, 1),
    ],
)
def test_threads_are_those_asked_for_else_those_of_the_environment_else_two(
    asked: int | None,
    environment: str | None,
    cores: int,
    used: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    if environment is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    monkeypatch.setattr(threads, "cores", lambda: cores)
    assert number_of_threads(asked) == used


def test_no_thread_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="threads must be a number of at least 1, got 0"):
        number_of_threads(0)
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    with pytest.raises(ValueError, match=r"OMP_NUM_THREADS must be .* got many"):
        number_of_threads(None)


@pytest.mark.parametrize(
    ("environment", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_waiting_threads_of_a_command_give_way_unless_told_otherwise(
    environment: dict[str, str], spins: str
) -> None:
    code = (
        "import os, sys\n"
        "from agents.command_line.command import command\n"
        "with command('train'):\n"
        "    assert 'torch' not in sys.modules\n"  # which reads it when it is loaded
        "    print(os.environ.get('GOMP_SPINCOUNT'))\n"
    )
    inherited = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT",)}
    end = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=inherited | environment,
    )
    assert end.stdout == f"{spins}\n", end.stderr
