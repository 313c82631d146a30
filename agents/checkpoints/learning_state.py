"""What learning changes in a policy and its optimiser, as tensors by name.

Names are those of the parameters that learn; of the others nothing is kept. Knows neither files nor
PPO.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from agents.policy.causal_lm import CausalLMPolicy


def parameters_of(policy: CausalLMPolicy) -> dict[str, Tensor]:
    """Returns the parameters that learn."""
    return {
        name: parameter.detach().contiguous()
        for name, parameter in policy.trainable_parameters().items()
    }


@torch.no_grad()
def restore_parameters(policy: CausalLMPolicy, saved: Mapping[str, Tensor]) -> None:
    """Overwrites the parameters that learn by those of `parameters_of`.

    Raises:
        ValueError: If they are not the same by name, shape and dtype.
    """
    own = policy.trainable_parameters()
    differing = sorted(own.keys() ^ saved.keys())
    if differing:
        where = "the checkpoint" if differing[0] in saved else "the policy"
        raise ValueError(
            "policy must have the parameters that were learning, but only "
            f"{where} has {differing[0]}"
        )
    for name, parameter in own.items():
        tensor = saved[name]
        if tensor.shape != parameter.shape or tensor.dtype != parameter.dtype:
            raise ValueError(
                f"policy must have {name} as it was saved, {tensor.dtype} {tuple(tensor.shape)}, "
                f"got {parameter.dtype} {tuple(parameter.shape)}"
            )
        parameter.copy_(tensor)


def optimizer_state_of(policy: CausalLMPolicy, optimizer: Optimizer) -> dict[str, Tensor]:
    """Returns what an optimiser knows of each parameter, as `key:name of the parameter`."""
    return {
        f"{key}:{name}": value.contiguous()
        for name, parameter in policy.trainable_parameters().items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer_state(
    policy: CausalLMPolicy, optimizer: Optimizer, saved: Mapping[str, Tensor]
) -> None:
    """Restores what `optimizer_state_of` returned; the options of the optimiser stay."""
    names: dict[Tensor, str] = {p: name for name, p in policy.trainable_parameters().items()}
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for place, parameter in enumerate(parameters):
        suffix = f":{names[parameter]}"
        own = {k.removesuffix(suffix): v for k, v in saved.items() if k.endswith(suffix)}
        if own:  # the first step is still to come otherwise
            state[place] = own
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
