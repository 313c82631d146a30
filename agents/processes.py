"""Several processes that learn together, each writing and judging its share of every batch.

`torchrun` or `accelerate launch` starts them, and `torch.distributed` connects them. Where there is
one process, everything here does nothing. This module knows nothing of what is exchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


def rank() -> int:
    """Returns the number of this process, from 0."""
    return distributed.get_rank() if _connected() else 0


def world_size() -> int:
    """Returns the number of processes."""
    return distributed.get_world_size() if _connected() else 1


def is_main() -> bool:
    """Tells whether this process is the one that writes and prints."""
    return rank() == 0


def gathered(value: T) -> list[T]:
    """Returns every process's value, by rank, to all of them; tensors must be on the CPU."""
    if world_size() == 1:
        return [value]
    values: list[T | None] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return [one for one in values if one is not None]


@torch.no_grad()
def copy_from_main(tensors: Iterable[Tensor]) -> None:
    """Overwrites tensors in all processes by those of rank 0."""
    if world_size() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


@torch.no_grad()
def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replaces every gradient by the sum over processes, in one exchange for each dtype."""
    if world_size() == 1:
        return
    parameters = list(parameters)
    for parameter in parameters:
        if parameter.grad is None:  # this process had no episode in the minibatch
            parameter.grad = torch.zeros_like(parameter)
    for dtype in {parameter.dtype for parameter in parameters}:
        gradients = [p.grad for p in parameters if p.grad is not None and p.dtype == dtype]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def _connected() -> bool:
    return distributed.is_available() and distributed.is_initialized()
