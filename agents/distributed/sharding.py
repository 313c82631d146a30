"""Sharing a policy's parameters out over processes, by PyTorch's fully sharded data parallel.

For models whose parameters, gradients and optimiser state together are too large for one device.
Each process keeps its share. Of a policy that learns, whole blocks exist from the first forward
pass of an update until the gradient of its last backward pass is exchanged, so that rollouts, whose
number of steps differs between processes, exchange nothing. Of its reference, a block exists whole
only while it computes.

Knows policies and `torch.distributed`; neither environments nor algorithms.
"""

from __future__ import annotations

import copy
import warnings
from typing import TypeVar

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from agents.distributed import processes
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.model.blocks import blocks_of
from agents.policy.model.lora import adapted_layers

T = TypeVar("T")
_METHODS = ("hidden_states", "logits", "distributions")
"""What is called of a policy from outside, besides its forward pass."""


def require_several() -> None:
    """Raises ValueError if there is one process only, over which no policy can be shared out."""
    if processes.world_size() == 1:
        raise ValueError(
            "policy.sharded must be False in one process, got True: start several by `torchrun "
            "--nproc_per_node N -m ...`"
        )


def shard(policy: CausalLMPolicy) -> None:
    """Shares the parameters of a policy out, in place, block by block; those of rank 0 count.

    Copies are made before, an optimiser after. Of one that learns, every process must take part in
    every forward pass that is differentiated; of one that does not, in every forward pass.

    Raises:
        ValueError: If there is one process, or the model brought adapters along.
    """
    require_several()
    if adapted_layers(policy.model) and not policy.options.lora_rank:
        raise ValueError(
            "policy.sharded must be False for a model that brings adapters, which no whole copy "
            "could be made of, got True"
        )
    processes.broadcast_from_main(policy.parameters())
    mesh = init_device_mesh(policy.device.type, (processes.world_size(),))
    learns = any(parameter.requires_grad for parameter in policy.parameters())
    trunks = [trunk for trunk in (policy.trunk, policy.value_trunk) if trunk is not None]
    parts: list[nn.Module] = [block for trunk in trunks for block in blocks_of(trunk)]
    if policy.value_trunk is not None:
        _own_what_is_fixed(policy.value_trunk)
    if policy.value_head is not None:
        parts.append(policy.value_head)  # its dtype may be another than the rest's
    for part in (*parts, policy):
        fully_shard(part, mesh=mesh, reshard_after_forward=not learns)
    # Of outputs that are written into, which no loss does.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    for method in _METHODS:
        register_fsdp_forward_method(policy, method)


def _own_what_is_fixed(trunk: nn.Module) -> None:
    """Gives a trunk what does not learn as its own: no tensor can have shares in two places."""
    for part in trunk.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if not parameter.requires_grad:
                setattr(part, name, nn.Parameter(parameter.detach().clone(), requires_grad=False))


def is_sharded(module: object) -> bool:
    """Tells whether a module's parameters are shared out."""
    return isinstance(module, FSDPModule)


def reshard(module: nn.Module) -> None:
    """Gives up what a forward pass gathered and no backward pass gives up; all processes call it.

    Nothing is done to a module that is not shared out.
    """
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


@torch.no_grad()
def whole(policy: T) -> T | None:
    """Returns a policy whole, in the first process, and None in others; all processes call it.

    Of one that is shared out, a copy on the CPU; otherwise the policy itself.
    """
    if not isinstance(policy, CausalLMPolicy) or not is_sharded(policy):
        return policy if processes.is_main() else None
    copied = _like(policy) if processes.is_main() else None
    own = {} if copied is None else dict(copied.named_parameters(remove_duplicate=False))
    for name, parameter in policy.named_parameters():
        value = processes.full_tensor(parameter.detach())
        if own:
            own[name].data = value.cpu()
    return copied  # type: ignore[return-value]  # it is a policy, as T is


def _like(policy: CausalLMPolicy) -> CausalLMPolicy:
    """Returns a policy of the same kind, with parameters of its own."""
    copied = CausalLMPolicy.from_config(copy.deepcopy(policy.model.config), policy.options)
    copied.model.generation_config = copy.deepcopy(policy.model.generation_config)
    return copied
