"""What learning changes in a policy and its optimiser, as tensors by name.

Names are those of the parameters that learn; of the others nothing is kept. Knows neither files nor
PPO.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from agents.agent import Trained


def parameters_of(policy: Trained) -> dict[str, Tensor]:
    """Returns the parameters that learn."""
    return {
        name: parameter.detach().contiguous()
        for name, parameter in policy.trainable_parameters().items()
    }


def require_parameters(policy: Trained, saved: Mapping[str, Tensor]) -> None:
    """Checks that saved parameters are those that learn here.

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


@torch.no_grad()
def restore_parameters(policy: Trained, saved: Mapping[str, Tensor]) -> None:
    """Overwrites the parameters that learn by those of `parameters_of`, which fit."""
    for name, parameter in policy.trainable_parameters().items():
        parameter.copy_(saved[name])


def optimizer_state_of(policy: Trained, optimizer: Optimizer) -> dict[str, Tensor]:
    """Returns what an optimiser knows of each parameter, as `key:name of the parameter`."""
    return {
        f"{key}:{name}": value.contiguous()
        for name, parameter in policy.trainable_parameters().items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def require_optimizer_state(
    policy: Trained, saved: Mapping[str, Tensor], names: Collection[str]
) -> None:
    """Checks the saved state of an optimiser: a wrong shape would end the interpreter.

    Args:
        policy: Whose parameters it optimises.
        saved: What is to be restored.
        names: Of what `optimizer_state_of` returned when it was saved.

    Raises:
        ValueError: If something is missing or too much, or has not the shape and dtype of its
            parameter (`step`: of one float32 number).
    """
    differing = sorted(saved.keys() ^ set(names))
    if differing:
        raise ValueError(
            f"the optimiser's state must be {len(names)} tensors, as it was saved, got "
            f"{len(saved)}; only one of them has {differing[0]}"
        )
    parameters = policy.trainable_parameters()
    for name, tensor in saved.items():
        key, _, parameter = name.partition(":")
        like = torch.empty((), dtype=torch.float32) if key == "step" else parameters.get(parameter)
        if like is None or (tensor.dtype, tensor.shape) != (like.dtype, like.shape):
            rule = (
                "of a parameter that learns"
                if like is None
                else f"{like.dtype} {tuple(like.shape)}"
            )
            raise ValueError(
                f"the optimiser's {name} must be {rule}, got {tensor.dtype} {tuple(tensor.shape)}"
            )


def restore_optimizer_state(
    policy: Trained, optimizer: Optimizer, saved: Mapping[str, Tensor]
) -> None:
    """Restores what `optimizer_state_of` returned, which fits; the optimiser's options stay."""
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
