"""Tensors that are shared out over processes, in a folder: each process writes its shares.

By `torch.distributed.checkpoint`, whose own format is pickled; here it is safetensors, of which
nothing is ever executed. Another number of processes may read them, one alone too. Does not know
what the tensors are.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from agents.distributed import processes


def write_shares(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors; all processes call it. Rank 0 writes those that are not shared out.

    Where no process has any, no folder is made.

    Raises:
        Exception: In all of them, what failed in one.
    """
    if any(processes.all_gather_object(bool(tensors))):
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        planner = DefaultSavePlanner(dedup_save_to_lowest_rank=True)  # else whoever has least
        with _raising_the_first():
            save(dict(tensors), storage_writer=writer, planner=planner)


def read_shares(folder: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Reads all that `write_shares` wrote; all processes call it.

    Args:
        folder: Where they are; without one there are none.
        like: What is shared out, by name: a tensor `NAME` or `...:NAME` of the same shape is shared
            out as it is, and any other is whole, on the CPU.

    Raises:
        Exception: In all of them, what failed in one.
    """
    if not folder.is_dir():
        return {}
    reader = HuggingFaceStorageReader(str(folder))
    tensors = {}
    for name, one in reader.read_metadata().state_dict_metadata.items():
        own = like.get(name.rpartition(":")[2])
        dtype = one.properties.dtype  # type: ignore[union-attr]  # nothing but tensors is written
        shared = own is not None and own.shape == one.size  # type: ignore[union-attr]
        tensors[name] = (
            torch.empty_like(own, dtype=dtype)  # type: ignore[arg-type]
            if shared
            else torch.empty(one.size, dtype=dtype)  # type: ignore[union-attr]
        )
    with warnings.catch_warnings(), _raising_the_first():
        # It asks whether one process is meant, and it is.
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        alone = processes.world_size() == 1
        load(dict(tensors), storage_reader=reader, no_dist=alone)
    return tensors


@contextmanager
def _raising_the_first() -> Iterator[None]:
    """Lets what failed in one process be raised as what it is."""
    try:
        yield
    except CheckpointException as failed:
        error, _ = next(iter(failed.failures.values()))
        raise error from failed
