"""Texts read whole: a trunk's last hidden states where they are wanted.

Padding stands on the right and attention looks to the left, so that no mask is needed for it:
attention may then take its fastest path. Knows trunks; neither what was chosen nor output layers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from agents.policy.model import gpt2_trunk
from agents.policy.model.blocks import blocks_of, recomputed


def states_at(
    trunk: PreTrainedModel, input_ids: Tensor, positions: Tensor, *, recompute: bool
) -> Tensor:
    """Returns hidden states (N, H).

    Args:
        trunk: Of a causal language model.
        input_ids: (B, T), padded on the right.
        positions: Where in the flattened texts, (N,).
        recompute: Whether blocks keep their inputs only and compute again for the gradient.
    """
    if not recompute and gpt2_trunk.is_plain(trunk):
        return gpt2_trunk.states_at(trunk, input_ids, positions)
    with recomputed(blocks_of(trunk) if recompute and torch.is_grad_enabled() else ()):
        output = trunk(
            input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False
        )
    hidden: Tensor = output.last_hidden_state
    return hidden.flatten(0, 1).index_select(0, positions)
