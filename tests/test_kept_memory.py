"""Freed memory is kept for the next pass."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from agents.algorithms.kept_memory import keep_freed_memory
torch.set_num_threads(1)
keep_freed_memory()
def a_pass(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [torch.empty(size).fill_(1) for _ in range(8)]  # freed together
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
a_pass(1)  # what the first of all calls leaves behind would lie beside what is freed
first, second = (a_pass(2**20) for _ in range(2))  # 32 MiB: 8,192 pages
print(first, second)
"""
TOLD = ("MALLOC_", "GLIBC_TUNABLES")
"""Variables by which somebody tells malloc what to keep."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_most_of_what_a_pass_frees_costs_the_next_no_page_faults() -> None:
    """All of it costs the first; where blocks come to lie is chance, so that one may not fit."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(TOLD)}
    found = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, check=True, env=environment
    )
    first, second = map(int, found.stdout.split())
    assert first > 8000
    assert second < first / 2
