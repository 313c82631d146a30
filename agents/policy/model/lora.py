"""Low-rank adapters on linear layers, by peft: added, let learn, taken off, merged.

Layers without their adapters are new modules on the same weights, so the model that learns is never
touched. Knows the adapters that a model brings along by what peft makes of them when it merges.
Source: Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

import copy
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
        ValueError: If no layer is left to adapt, or the model has adapters already.
    """
    if adapted_layers(model):
        raise ValueError(f"lora_rank must be 0 for a model that brings adapters, got {rank}")
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
    _learn_in_float32(model)


def let_learn(model: PreTrainedModel) -> None:
    """Lets the adapters that a model came with learn, in place, unless some of it does already.

    Raises:
        ValueError: If one of them takes no part in the forward pass, or cannot be merged into the
            weights: what it learns would be lost when the model is saved.
    """
    layers = adapted_layers(model)
    for layer in layers:
        _require_mergeable(layer)
    _require_no_others(model, layers)
    if not layers:
        return
    if not any(parameter.requires_grad for parameter in model.parameters()):
        for layer in layers:
            layer.set_adapter(layer.active_adapters)
    _learn_in_float32(model)


def adapted_layers(module: nn.Module) -> list[Any]:
    """Returns the layers that have an adapter."""
    return [part for part in module.modules() if len(getattr(part, "lora_B", ())) > 0]


def are_fresh(layers: Collection[Any]) -> bool:
    """Tells whether the adapters of these layers still change nothing."""
    return not any(
        # A magnitude (Liu et al. 2024, arXiv:2402.09353) may have moved alone.
        len(layer.lora_magnitude_vector) > 0
        or any(bool(part.any()) for part in layer.lora_B.parameters())
        for layer in layers
    )


def without_adapters(layers: Collection[Any]) -> dict[nn.Module, nn.Module]:
    """Returns, for each adapted layer, a plain one on the same weight."""
    return {layer: copy_sharing_fixed(layer.get_base_layer()) for layer in layers}


def merged(layers: Collection[Any]) -> dict[nn.Module, nn.Module]:
    """Returns, for each adapted layer, a plain one that does the same: W + alpha / rank · B·A."""
    return {layer: _merged(layer) for layer in layers}


def _merged(layer: Any) -> nn.Module:
    own = copy.deepcopy(layer)  # peft merges in place
    own.merge()
    plain_layer: nn.Module = own.get_base_layer().requires_grad_(False)
    for parameter in plain_layer.parameters():
        parameter.data = parameter.data.contiguous()
    return plain_layer


def plain(module: M, *, merge: bool) -> M:
    """Returns a module without adapters, on the same tensors where these suffice.

    Args:
        module: Is not touched, and returned where it has no adapters.
        merge: Whether they are merged into the weights, or left out.
    """
    layers = adapted_layers(module)
    if not layers:
        return module
    copied = copy_sharing_fixed(module, merged(layers) if merge else without_adapters(layers))
    if vars(copied).pop("_hf_peft_config_loaded", False):
        # A transformers model that was given adapters would save these only, under their names.
        for name in ("peft_config", "_weight_conversions"):
            vars(copied).pop(name, None)
    return copied


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


def _require_no_others(model: PreTrainedModel, layers: Collection[Any]) -> None:
    """Refuses what peft put into a model besides adapted `layers`: what it learns is not merged."""
    known = {id(part) for layer in layers for part in layer.modules()}
    for name, part in model.named_modules():
        if type(part).__module__.startswith("peft.") and id(part) not in known:
            raise ValueError(
                "model must have no adapters but low-rank ones on linear layers, got "
                f"{type(part).__module__}.{type(part).__name__} at {name}"
            )


@torch.no_grad()
def _require_mergeable(layer: Any) -> None:
    """Refuses an adapter unless its layer, merged, does as it did, whatever the adapter learns."""
    if layer.merged or layer.disable_adapters:
        state = "merged" if layer.merged else "disabled"
        raise ValueError(f"model must have its adapters active and unmerged, got one {state}")
    trial, generator = copy.deepcopy(layer).float().cpu(), torch.Generator().manual_seed(0)
    for name, part in trial.named_parameters():
        if name.startswith("lora_"):
            part += 0.1 * torch.randn(part.shape, generator=generator)
    inputs = torch.randn(4, trial.in_features, generator=generator)
    try:
        error = (_merged(trial)(inputs) - trial(inputs)).abs().max().item()
    except (RuntimeError, NotImplementedError) as reason:
        raise ValueError(f"model must have adapters that can be merged: {reason}") from reason
    if not error < 1e-3:
        raise ValueError(
            "model must have adapters that can be merged, got one whose merged layer differs by "
            f"{error:.3g}"
        )


def _learn_in_float32(model: nn.Module) -> None:
    """Converts what learns, where it is less, for Adam's steps would be rounded away."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype.itemsize < 4:
            parameter.data = parameter.data.float()


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
