"""GPT-2's arithmetic on its own parameters, with the fewest calls: all but attention.

A small model on a CPU spends more time on the way to its matrix products than in them. Tokens of
any texts pass through a layer's products together; what they attend to is asked of whoever keeps
keys and values. Knows neither texts nor caches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional
from transformers import GPT2Model
from transformers.pytorch_utils import Conv1D

from agents.policy.model.gpt2_trunk import is_gpt2


class _Norm(NamedTuple):
    size: list[int]
    weight: Tensor
    bias: Tensor
    epsilon: float


class _Layer(NamedTuple):
    """The parameters of one layer, taken out of their modules once."""

    norm_1: _Norm
    attention: Sequence[Tensor]
    attention_out: Sequence[Tensor]
    norm_2: _Norm
    inner: Sequence[Tensor]
    outer: Sequence[Tensor]
    activation: Callable[[Tensor], Tensor]


class GPT2Layers:
    """Computes what a GPT-2 makes of embedded tokens.

    Args:
        trunk: One that `supports` accepts.

    Attributes:
        n_heads: Of each layer.
        head_size: Width of a head.
        width: Of a hidden state, H.
    """

    def __init__(self, trunk: GPT2Model) -> None:
        config: Any = trunk.config
        self._trunk: Any = trunk
        self._layers = [_layer(block) for block in self._trunk.h]
        self.n_heads = int(config.n_head)
        self.width = int(config.n_embd)
        self.head_size = self.width // self.n_heads

    @staticmethod
    def supports(trunk: nn.Module) -> bool:
        """Tells whether a trunk is plain GPT-2: no adapters, shards, hooks."""
        if not is_gpt2(trunk) or trunk.config.add_cross_attention:
            return False
        products = [
            product
            for block in cast("Any", trunk.h)
            for product in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj)
        ]
        return all(type(product) is Conv1D for product in products) and not any(
            isinstance(product.weight, DTensor) for product in products
        )

    def __len__(self) -> int:
        """Returns the number of layers."""
        return len(self._layers)

    def embedded(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Returns N tokens (N,) at positions (N,) as the first layer reads them, (N, H)."""
        embedded: Tensor = functional.embedding(tokens, self._trunk.wte.weight)
        return embedded + functional.embedding(positions, self._trunk.wpe.weight)

    def states(
        self,
        states: Tensor,
        caches: Sequence[Tensor],
        attended: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Returns the last hidden states (N, H) of N embedded tokens.

        Args:
            states: (N, H).
            caches: Keys and values of each layer.
            attended: What the tokens attend to, (N, H), from a layer's cache and projections
                (N, 3 H).
        """
        for layer, cache in zip(self._layers, caches, strict=True):
            projected = _product(layer.attention, torch.layer_norm(states, *layer.norm_1))
            states = states + _product(layer.attention_out, attended(cache, projected))
            inner = _product(layer.inner, torch.layer_norm(states, *layer.norm_2))
            states = states + _product(layer.outer, layer.activation(inner))
        return torch.layer_norm(states, *_norm(self._trunk.ln_f))


def _layer(block: Any) -> _Layer:
    return _Layer(
        norm_1=_norm(block.ln_1),
        attention=_weights(block.attn.c_attn),
        attention_out=_weights(block.attn.c_proj),
        norm_2=_norm(block.ln_2),
        inner=_weights(block.mlp.c_fc),
        outer=_weights(block.mlp.c_proj),
        activation=block.mlp.act.forward,
    )


def _norm(norm: Any) -> _Norm:
    return _Norm(list(norm.normalized_shape), norm.weight, norm.bias, norm.eps)


def _weights(part: Any) -> tuple[Tensor, Tensor]:
    return part.weight, part.bias


def _product(linear: Sequence[Tensor], states: Tensor) -> Tensor:
    weight, bias = linear
    return torch.addmm(bias, states, weight)
