"""Freed memory is kept for the next pass."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from agents.algorithms.kept_memory import keep_freed_memory
torch.set_num_threads(1)
keep_freed_memory()
def a_pass():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [torch.empty(2**20).fill_(1) for _ in range(8)]  # 32 MiB, freed together: 8,192 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
a_pass()
print(sum(a_pass() for _ in range(5)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_what_a_pass_frees_costs_the_next_no_page_faults() -> None:
    found = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True)
    assert int(found.stdout) < 8192
