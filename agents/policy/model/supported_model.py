"""Which language models can be a policy, and how large their logits are.

A policy computes logits itself, as output layer times last hidden state, and reads texts without a
mask for their padding. Both are tried out here, on two texts of two tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from agents.policy.model.pretrained import dropouts

_LENGTHS = (
    "max_position_embeddings",
    "max_seq_len",
    "max_sequence_length",
    "max_target_positions",
    "model_max_length",
    "n_ctx",
    "n_positions",
)
"""What configurations call the largest number of tokens in a text."""


class LogitSizes(NamedTuple):
    """How large logits are.

    Attributes:
        largest: Largest absolute value.
        spread: Largest standard deviation over the vocabulary.
    """

    largest: float
    spread: float


def longest_text(model: PreTrainedModel) -> int | None:
    """Returns the most tokens that a model's configuration allows in a text; None: any number."""
    config = model.config.get_text_config(decoder=True)
    lengths = [getattr(config, name, None) for name in _LENGTHS]
    return min((int(length) for length in lengths if length and length > 0), default=None)


def linear_head(model: PreTrainedModel) -> nn.Linear:
    """Returns the output layer.

    Raises:
        ValueError: If it is not an `nn.Linear`.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ValueError(
            f"model must have an nn.Linear as its output layer, got {type(head).__name__} of "
            f"{type(model).__name__}"
        )
    return head


@torch.no_grad()
def require_supported(model: PreTrainedModel) -> LogitSizes:
    """Tries a model out.

    Its own logits are compared with the output layer's: some architectures scale or cap them. The
    logits of an untrained model are too small to meet a cap, so they are blown up to 100.

    Raises:
        ValueError: If it is no `PreTrainedModel`, a dropout is on, there are no hidden states, they
            depend on later tokens, or logits are not the output layer times the last of them.
    """
    if not isinstance(model, PreTrainedModel):
        raise ValueError(
            f"model must be a PreTrainedModel, got a {type(model).__name__}; of a PeftModel give "
            "get_base_model(), which holds its adapters"
        )
    active = {name: rate for name, rate in dropouts(model.config).items() if rate}
    if active:
        raise ValueError(f"model must have its dropouts at 0, got {active}")
    head = linear_head(model)
    input_ids = torch.tensor([[0, 0], [0, min(1, len(head.weight) - 1)]], device=head.weight.device)
    inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
    hidden = _hidden_states(model, inputs)
    if not torch.allclose(hidden[0, 0], hidden[1, 0], atol=1e-4, rtol=1e-3):
        raise ValueError(
            "model must be causal, got one whose hidden states depend on later tokens: "
            f"{type(model).__name__}"
        )
    logits = head(hidden)
    largest = logits.abs().max().clamp_min(1e-6)
    factor = 100 / largest
    with head.register_forward_hook(lambda _module, _args, logits: factor * logits):
        own, ours = model(**inputs).logits, head(hidden)
    if own.shape != ours.shape:
        raise ValueError(
            f"model must have one logit for each of the {ours.shape[-1]} rows of its output layer, "
            f"got {own.shape[-1]} from {type(model).__name__}"
        )
    if not torch.allclose(own.float(), ours.float(), atol=1e-4, rtol=1e-3):
        raise ValueError(
            "model must compute its logits as output layer times last hidden state, got "
            f"{type(model).__name__}, whose logits differ by {(own - ours).abs().max().item():.3g}"
        )
    return LogitSizes(float(largest), float(logits.float().std(dim=-1).max()))


def _hidden_states(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Tensor:
    try:
        hidden: Tensor = model.base_model(**inputs).last_hidden_state
    except Exception as error:  # whatever an architecture that needs more than text runs into
        raise ValueError(
            "model must have a trunk that makes hidden states of token ids and their mask alone; "
            f"that of {type(model).__name__} does not: {type(error).__name__}: {error}"
        ) from error
    return hidden
