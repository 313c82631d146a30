"""Low-rank adapters on linear layers, by peft: added, taken off, merged.

Layers without their adapters are new modules on the same weights, so the model that learns is never
touched. Source: Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from agents.policy.model.blocks import lowest
from agents.policy.model.module_copy import copy_sharing_fixed

M = TypeVar("M", bound=nn.Module)
_ADAPTER = "default"


def add_adapters(
    model: PreTrainedModel,
    rank: int,
    *,
    alpha: int,
    targets: Collection[str] = (),
    frozen_blocks: int = 0,
    seed: int = 0,
) -> None:
    """Adds adapters to a model, in place; from then on nothing else of it learns.

    They change nothing yet: each is B·A with B = 0. In float32 at least, whatever the model is in.

    Args:
        model: Its output layer gets none.
        rank: Of A and B.
        alpha: The product is multiplied by alpha / rank.
        targets: Linear layers that get one, by name or its end; none given: all.
        frozen_blocks: Lowest blocks that get none.
        seed: Of A; global random states stay as they are.

    Raises:
        ImportError: If peft is missing; names the extra.
        ValueError: If no layer is left to adapt.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError("lora_rank needs peft: pip install 'text-gym[lora]'") from error
    layers = _linear_layers(model, targets, frozen_blocks)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules=list(layers),
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in layers.values()),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, adapter_name=_ADAPTER)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype.itemsize < 4:
            parameter.data = parameter.data.float()


def adapted_layers(module: nn.Module) -> list[Any]:
    """Returns the layers that have an adapter."""
    return [
        part for part in module.modules() if hasattr(part, "base_layer") and hasattr(part, "lora_B")
    ]


def are_fresh(layers: Collection[Any]) -> bool:
    """Tells whether the adapters of these layers still change nothing."""
    return not any(bool(layer.lora_B[_ADAPTER].weight.any()) for layer in layers)


def without_adapters(layers: Collection[Any]) -> dict[nn.Module, nn.Module]:
    """Returns, for each adapted layer, a plain one on the same weight."""
    return {layer: copy_sharing_fixed(layer.base_layer) for layer in layers}


@torch.no_grad()
def merged(layers: Collection[Any]) -> dict[nn.Module, nn.Module]:
    """Returns, for each adapted layer, a plain one of weight W + alpha / rank · B·A."""
    plain_layers = without_adapters(layers)
    for layer in layers:
        weight, change = layer.base_layer.weight, layer.get_delta_weight(_ADAPTER)
        plain_layers[layer].weight = nn.Parameter(
            (weight + change).to(weight.dtype), requires_grad=False
        )
    return plain_layers


def plain(module: M, *, merge: bool) -> M:
    """Returns a module without adapters, on the same tensors where these suffice.

    Args:
        module: Is not touched, and returned where it has no adapters.
        merge: Whether they are merged into the weights, or left out.
    """
    layers = adapted_layers(module)
    if not layers:
        return module
    return copy_sharing_fixed(module, merged(layers) if merge else without_adapters(layers))


def load_plain(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads the weights of a plain module of the same kind, below adapters that stay as they are.

    Tensors that are equal already stay, for they may be shared; others are replaced, not written.

    Raises:
        ValueError: If a weight is missing.
    """
    for name, parameter in list(module.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        if ".lora_" in owner:
            continue
        plain_name = name.replace(".base_layer.", ".")
        if plain_name not in state:
            raise ValueError(f"state must hold every weight of the module, lacks {plain_name}")
        value = state[plain_name].to(parameter)
        if not torch.equal(parameter, value):
            setattr(
                module.get_submodule(owner),
                leaf,
                nn.Parameter(value, requires_grad=parameter.requires_grad),
            )


def _linear_layers(
    model: PreTrainedModel, targets: Collection[str], frozen_blocks: int
) -> dict[str, nn.Module]:
    """Returns the layers to adapt by their names in the model."""
    left_out = {id(part) for block in lowest(model, frozen_blocks) for part in block.modules()}
    left_out.add(id(model.get_output_embeddings()))
    layers: dict[str, nn.Module] = {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | Conv1D)
        and id(part) not in left_out
        and (not targets or any(f".{name}".endswith(f".{target}") for target in targets))
    }
    if not layers:
        raise ValueError(
            "lora_targets must name linear layers above frozen_blocks, other than the output "
            f"layer, got {tuple(targets)} with frozen_blocks={frozen_blocks}"
        )
    return layers
