"""Sharing a policy's parameters out over processes, by PyTorch's fully sharded data parallel.

For models whose parameters, gradients and optimiser state together are too large for one device.
Each process keeps its share; whole blocks exist from the first forward pass of an update until the
gradient of its last backward pass is exchanged, so that rollouts, whose number of steps differs
between processes, exchange nothing.

Knows policies and `torch.distributed`; neither environments nor PPO.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from agents.distributed import processes
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.model.blocks import blocks_of


def shard(policy: CausalLMPolicy) -> None:
    """Shares the parameters of a policy out, in place, block by block.

    Build the reference before (`policy.frozen_copy()`) and the optimiser, which `PPO` does, after.
    Every process must take part in every forward pass that is differentiated: choose
    `PPOConfig.n_episodes` as a multiple of `batch_size`, and that as one of the processes.

    Raises:
        RuntimeError: If `torch.distributed` connects no processes.
    """
    if processes.world_size() == 1:
        raise RuntimeError(
            "shard needs several processes: start with torchrun or accelerate launch, and connect "
            "them with torch.distributed.init_process_group"
        )
    mesh = init_device_mesh(policy.device.type, (processes.world_size(),))
    for block in blocks_of(policy.model):
        fully_shard(block, mesh=mesh, reshard_after_forward=False)
    fully_shard(policy, mesh=mesh, reshard_after_forward=False)
    for method in ("hidden_states", "logits", "values"):
        register_fsdp_forward_method(policy, method)


def reshard(module: nn.Module) -> None:
    """Gives up what a forward pass gathered and no backward pass gives up; all processes call it.

    Nothing is done to a module that is not shared out.
    """
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def full_state_dict(module: nn.Module) -> dict[str, torch.Tensor]:
    """Returns a sharded module's parameters and buffers as plain tensors; all processes call it."""
    return {
        name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        for name, tensor in module.state_dict().items()
    }
