"""Scaling and shifting the rewards of a network by its own weights.

So that whoever loads it, plain `transformers` included, computes the same numbers. Knows neither
texts nor files.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.reward_models.network import RewardNetwork


@torch.no_grad()
def fold(network: RewardNetwork, shift: float, scale: float) -> float:
    """Makes a network, in place, give shift + scale·r where it gave r, as far as its weights can.

    The scale goes into the head. The shift goes into the head's bias; without one, into the bias of
    a layer norm that the hidden states come from, as c·w with w the head's weights and
    c = shift/(w·w); without that either, nowhere.

    Args:
        network: Without adapters.
        shift: What every reward gains, after scaling.
        scale: Above 0.

    Returns:
        The shift that is left to whoever reads the rewards: 0, or all of it.
    """
    head = network.head
    head.weight.mul_(scale)
    if head.bias is not None:
        head.bias.mul_(scale).add_(shift)
        return 0.0
    norm, weights = _last_norm(network), head.weight[0].double()
    squared = float(weights @ weights)
    if norm is None or squared == 0:
        return shift
    norm.bias.add_((weights * (shift / squared)).to(norm.bias))
    return 0.0


def _last_norm(network: RewardNetwork) -> nn.LayerNorm | None:
    """Returns the layer norm whose output is the last hidden state, if there is one with a bias."""
    norms = [part for part in network.trunk.modules() if isinstance(part, nn.LayerNorm)]
    if not norms or norms[-1].bias is None:
        return None
    outputs: list[Tensor] = []
    with norms[-1].register_forward_hook(lambda _module, _inputs, output: outputs.append(output)):
        ids = torch.zeros(1, 2, dtype=torch.int64, device=network.device)
        hidden = network.trunk(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    is_last = len(outputs) == 1 and outputs[0].shape == hidden.shape
    return norms[-1] if is_last and torch.equal(outputs[0], hidden) else None
