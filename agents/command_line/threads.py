"""How many threads compute, and how they wait for one another.

Loads no torch: what its threads do while they wait is read from the environment when it is loaded.
"""

from __future__ import annotations

import os

DEFAULT_THREADS = 2
_SPINS = 1000
"""About the time between two operations of a small model. Threads that then still wait give the
core away; by default they would keep it for milliseconds, which on a busy machine is what they wait
for."""


def wait_briefly() -> None:
    """Lets waiting threads give way to other processes, unless the environment says how they wait.

    To be called before torch is loaded. Concerns GNU's OpenMP, with which torch comes on Linux.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))


def number_of_threads(asked: int | str | None) -> int:
    """Returns how many threads to use: those asked for, else `$OMP_NUM_THREADS`, else 2.

    Without either, the number does not follow the machine, because results depend on it in their
    last bits; only where there is one core, it is 1.

    Raises:
        ValueError: If the number is no number, or less than 1.
    """
    if asked is not None:
        return _at_least_one("threads", str(asked))
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]  # of a list, by level of nesting
    if first.strip():
        return _at_least_one("OMP_NUM_THREADS", first)
    return min(DEFAULT_THREADS, cores())


def cores() -> int:
    """Returns how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _at_least_one(name: str, text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ValueError(f"{name} must be a number of at least 1, got {text}")
    return int(text)
