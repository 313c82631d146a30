"""GPT-2 read whole, without the library's calls around its arithmetic.

A small model on a CPU spends a third of a forward pass on the way to its products: masks that mask
nothing, outputs that hold one tensor, hooks that nobody set. Here are the operations of
`transformers`' GPT-2 in their order, on its own modules (adapters included), so that hidden states
are equal to the last bit. The last layer is computed only where its states are wanted, in float32.

Knows one architecture, and nothing of policies.
"""

from __future__ import annotations

from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import _has_any_global_hook
from transformers import GPT2Model
from transformers.activations import ACT2CLS
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP, GPT2Attention, GPT2Block

_ACTIVATIONS = {kind[0] if isinstance(kind, tuple) else kind for kind in ACT2CLS.values()}
_ACTIVATIONS.add(nn.GELU)
"""What makes a number of each number; anything else could look at whole texts."""


def is_gpt2(trunk: nn.Module) -> TypeGuard[GPT2Model]:
    """Tells whether a trunk does what the library's GPT-2 does, and nothing beside.

    Its parts must be of the library's classes (of which products alone may be others, as adapters
    are), scale attention by the root of a head's size, and be as they were made: no hook on any of
    them (of sharding, of whoever looks on, of all modules), no other `forward` (which recomputes
    activations), no dropout.
    """
    return (
        type(trunk) is GPT2Model
        and all(map(_looks_up, (trunk.wte, trunk.wpe)))
        and type(trunk.ln_f) is nn.LayerNorm
        and all(map(_is_block, cast("Any", trunk.h)))
        and not _has_any_global_hook()
        and not any(map(_does_more, _parts(trunk)))
    )


def is_plain(trunk: nn.Module) -> TypeGuard[GPT2Model]:
    """Tells whether `states_at` computes what a trunk does: a GPT-2, with torch's own attention."""
    return is_gpt2(trunk) and trunk.config._attn_implementation == "sdpa"


def states_at(trunk: GPT2Model, input_ids: Tensor, positions: Tensor) -> Tensor:
    """Returns last hidden states (N, H) of texts that nothing pads on the left.

    Args:
        trunk: One that `is_plain`.
        input_ids: (B, T).
        positions: Where in the flattened texts, (N,).
    """
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    states = (trunk.wte(input_ids) + trunk.wpe(places)).flatten(0, 1)
    early = _takes_any_number_of_rows(states)
    blocks: Any = trunk.h
    for block in blocks:
        attended = _attended(block, states, input_ids.shape)
        if early and block is blocks[-1]:
            attended, states = (part.index_select(0, positions) for part in (attended, states))
        states = block.attn.c_proj(attended) + states
        inner = block.mlp.act(block.mlp.c_fc(block.ln_2(states)))
        states = states + block.mlp.c_proj(inner)
    normalised: Tensor = trunk.ln_f(states)
    return normalised if early else normalised.index_select(0, positions)


def _attended(block: Any, states: Tensor, shape: torch.Size) -> Tensor:
    """Returns what each token finds in its text, (B T, H), before it is projected."""
    projected = block.attn.c_attn(block.ln_1(states)).view(*shape, -1)
    queries, keys, values = (
        part.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2)
        for part in projected.chunk(3, dim=-1)
    )
    found = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    return found.transpose(1, 2).reshape(states.shape)


def _takes_any_number_of_rows(states: Tensor) -> bool:
    """Tells whether products are in float32 at least.

    In bfloat16 on a CPU, a product is compiled when a number of rows is met for the first time,
    which takes longer than fewer rows save.
    """
    return states.dtype.itemsize >= 4 and not torch.is_autocast_enabled(states.device.type)


def _looks_up(embedding: nn.Module) -> bool:
    return type(embedding) is nn.Embedding and embedding.max_norm is None


def _is_block(block: Any) -> bool:
    attention, mlp = block.attn, block.mlp
    return (
        type(block) is GPT2Block
        and type(attention) is GPT2Attention
        and type(mlp) is GPT2MLP
        and type(block.ln_1) is type(block.ln_2) is nn.LayerNorm
        and type(mlp.act) in _ACTIVATIONS
        and attention.is_causal
        and attention.scaling == attention.head_dim**-0.5
        and not attention.reorder_and_upcast_attn
    )


def _parts(trunk: nn.Module) -> list[nn.Module]:
    """Returns a module and all within it, in a third of the time that `modules()` takes."""
    parts = [trunk]
    for part in parts:
        parts.extend(one for one in part._modules.values() if one is not None)
    return parts


def _does_more(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
        or (isinstance(module, nn.Dropout) and module.p)
    )
