"""What learns, and from how much, checked before the first text is written.

Knows two policies and how long texts get; neither environments nor algorithms.
"""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor

from agents.agent import Trained
from agents.policy.causal_lm import CausalLMPolicy


def require_total_episodes(total_episodes: Any) -> None:
    """Raises ValueError unless `total_episodes` is a number of episodes to learn from."""
    whole = isinstance(total_episodes, Integral) and not isinstance(total_episodes, bool)
    if not whole or total_episodes < 1:
        raise ValueError(f"total_episodes must be an int of at least 1, got {total_episodes!r}")


def require_policy(policy: Any) -> None:
    """Raises ValueError unless what is to learn is a policy."""
    if not isinstance(policy, CausalLMPolicy):
        raise ValueError(
            "policy must be a CausalLMPolicy, which from_config, from_pretrained or "
            f"CausalLMPolicy(model) makes, got {policy!r:.100}"
        )


def require_learning(policy: Trained) -> None:
    """Raises ValueError if nothing of a policy's language model learns; counts its parameters."""
    parameters = list(policy.model.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        raise ValueError(
            "policy must have parameters of its language model that learn, got none of "
            f"{sum(parameter.numel() for parameter in parameters):,}; requires_grad_() lets them"
        )


def require_reference(reference: CausalLMPolicy, policy: CausalLMPolicy, max_length: int) -> None:
    """Refuses a reference that moves with the policy, or cannot read its texts.

    Args:
        reference: What the KL is measured from.
        policy: What learns.
        max_length: Most tokens of a text, prompt included.

    Raises:
        ValueError: If the two share a tensor that learns, or the reference has another vocabulary
            or fewer positions; the message names both numbers.
    """
    fixed = _storages(reference.state_dict().values())
    shared = [
        name
        for name, parameter in policy.trainable_parameters().items()
        if not fixed.isdisjoint(_storages([parameter]))
    ]
    if shared:
        raise ValueError(
            f"reference must share no tensor that learns with policy, got {len(shared)} shared, "
            f"the first {shared[0]}; policy.frozen_copy() is a reference"
        )
    if reference.vocab_size != policy.vocab_size:
        raise ValueError(
            f"reference must have the policy's vocabulary of {policy.vocab_size} tokens, got "
            f"{reference.vocab_size}"
        )
    if reference.max_length is not None and reference.max_length < max_length:
        raise ValueError(
            f"reference must have positions for texts of {max_length} tokens, "
            f"got {reference.max_length}"
        )


def _storages(tensors: Iterable[Tensor]) -> set[int]:
    local = (one.to_local() if isinstance(one, DTensor) else one for one in tensors)
    return {tensor.untyped_storage().data_ptr() for tensor in local}
