"""Memory that is freed and wanted again a millisecond later: kept, not given back.

An update of a small model allocates the same activations in every pass. The C library of Linux
gives what was freed back to the system as soon as it is more than twice the largest single block,
and gets it back as pages of zeros, one fault each. It can be shown a larger block.

Knows nothing of what the memory is for.
"""

from __future__ import annotations

import torch

_LARGEST_LEARNT_FROM = 32 * 2**20 - 2**16
"""Bytes; of larger blocks glibc learns nothing (mallopt(3), on M_MMAP_THRESHOLD)."""


def keep_freed_memory() -> None:
    """Lets the process keep 64 MiB that it has freed.

    Nothing changes where malloc is not glibc's, nor where the environment sets
    `MALLOC_TRIM_THRESHOLD_` or `MALLOC_MMAP_THRESHOLD_`, with which glibc learns no more.
    """
    torch.empty(_LARGEST_LEARNT_FROM, dtype=torch.uint8)  # freed at once
