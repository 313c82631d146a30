"""Several processes that learn together, each writing and scoring its share of every batch.

`torchrun` or `accelerate launch` starts them, and `torch.distributed` connects them. Where there is
one process, everything here does nothing. This module knows nothing of what is exchanged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

T = TypeVar("T")

_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Where launchers tell a process how many they started: torchrun, and kinds of mpirun."""

_ENGINES = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "parallelism",
}
"""Where `accelerate launch` says of which engine its configuration has a section."""


def init(*, use_cpu: bool = False) -> torch.device:
    """Joins the processes that were started together, if they were, and returns this one's device.

    Args:
        use_cpu: Leaves GPUs alone; otherwise each process takes the one of its local rank.

    Raises:
        ImportError: If there are several processes and accelerate is missing; names the extra.
        ValueError: If several were asked for and one was started, or the launcher's configuration
            asks for what has no effect here.
    """
    _require_plain_launch()
    use_cpu = use_cpu or not torch.cuda.is_available()
    if _number_started() == 1:
        return torch.device("cpu" if use_cpu else "cuda")
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ImportError(
            "several processes need accelerate: pip install 'text-gym[distributed]'"
        ) from error
    device: torch.device = PartialState(cpu=use_cpu).device
    return device


def rank() -> int:
    """Returns the number of this process, from 0."""
    return distributed.get_rank() if _connected() else 0


def world_size() -> int:
    """Returns the number of processes."""
    return distributed.get_world_size() if _connected() else 1


def share_of(total: int, name: str) -> int:
    """Returns how many of what the whole job has are this process's: as many as any other's.

    Raises:
        ValueError: If `total`, which is called `name`, cannot be shared out evenly.
    """
    if total % world_size():
        raise ValueError(
            f"{name} must be a multiple of the number of processes, {world_size()}, got {total}"
        )
    return total // world_size()


def rows_of(total: int, name: str) -> range:
    """Returns which of the rows that the whole job has are this process's: almost as many as any's.

    Raises:
        ValueError: If `total`, which is called `name`, leaves a process without any.
    """
    n, own = world_size(), rank()
    if total < n:
        raise ValueError(f"{name} must be at least the number of processes, {n}, got {total}")
    return range(own * total // n, (own + 1) * total // n)


def is_main() -> bool:
    """Tells whether this process is the one that writes and prints."""
    return rank() == 0


def all_gather_object(value: T) -> list[T]:
    """Returns every process's value, by rank, to all of them; tensors must be on the CPU."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def from_main(action: Callable[[], T]) -> T:
    """Lets rank 0 do something, and returns in all processes what came of it.

    Raises:
        Exception: In all of them, what the action raised.
    """
    if world_size() == 1:
        return action()
    result, error = None, None
    if is_main():
        try:
            result = action()
        except Exception as raised:
            error = raised
    result, error = all_gather_object((result, error))[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # where there is no error, it is a T


@torch.no_grad()
def broadcast_from_main(tensors: Iterable[Tensor]) -> None:
    """Overwrites tensors in all processes by those of rank 0; sharded ones stay."""
    if world_size() > 1:
        for tensor in tensors:
            if not isinstance(tensor, DTensor):
                distributed.broadcast(tensor, src=0)


@torch.no_grad()
def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Returns the sum of every process's tensor; `tensor` itself holds it afterwards."""
    if world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


@torch.no_grad()
def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replaces every gradient by the sum over processes, in one exchange for each dtype.

    The gradients of sharded parameters have been exchanged already, as means.
    """
    if world_size() == 1:
        return
    sharded, parameters = _split(parameters)
    for parameter in sharded:
        if parameter.grad is not None:
            parameter.grad.mul_(world_size())
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


def full_tensor(value: Tensor) -> Tensor:
    """Returns a tensor, or all of one that is sharded."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _split(
    parameters: Iterable[torch.nn.Parameter],
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """Returns the sharded ones and the others."""
    both: tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]] = ([], [])
    for parameter in parameters:
        both[not isinstance(parameter, DTensor)].append(parameter)
    return both


def _require_plain_launch() -> None:
    for name, engine in _ENGINES.items():
        if os.environ.get(name) == "true":
            raise ValueError(
                f"the configuration of `accelerate launch` must have no section of {engine}, which "
                "acts on what is given to Accelerator.prepare and has no effect here, got "
                f"{name}=true: leave it out (--config_file, --use_...), and share parameters out "
                "by --policy.sharded"
            )


def _number_started() -> int:
    """Returns how many processes were started together, by what their launcher says.

    On CPUs, `accelerate launch` starts one process whatever its `--num_processes`. Of the number it
    passes on nothing but this: only for several does it set an address where they would meet.
    """
    told = [os.environ[name] for name in _SIZES if name in os.environ]
    if not told and {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= os.environ.keys():
        raise ValueError(
            "`accelerate launch --num_processes` must be 1 where no GPU is used, because it starts "
            "one process there whatever the number, got more: start N by "
            "`torchrun --nproc_per_node N -m ...`"
        )
    return int(told[0]) if told else 1


def _connected() -> bool:
    return distributed.is_available() and distributed.is_initialized()
