"""The next token after an observation, as Stable-Baselines3 asks a policy for an action.

Reads the observation from its first token on, without a cache; `agents.rollout` is the fast way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.policy import categorical
from agents.policy.causal_lm import CausalLMPolicy


@torch.no_grad()
def next_tokens(
    policy: CausalLMPolicy,
    observation: Mapping[str, NDArray[Any]],
    generator: torch.Generator | None,
    action_masks: NDArray[Any] | None = None,
) -> NDArray[np.int64]:
    """Chooses the next token, for one observation or a batch.

    Args:
        policy: Chooses.
        observation: `input_ids` and `attention_mask`, (L,) or (n, L).
        generator: Of sampling; None takes the most probable token.
        action_masks: Allowed tokens, (V,) or (n, V); None: all.

    Returns:
        Token ids, () or (n,).

    Raises:
        ValueError: If a mask allows nothing, or the model's logits are not finite.
    """
    ids, mask = (torch.as_tensor(observation[k]) for k in ("input_ids", "attention_mask"))
    batched = ids.ndim == 2
    ids, mask = torch.atleast_2d(ids).long(), torch.atleast_2d(mask).long()
    width = int(mask.sum(dim=1).max())
    hidden = policy.hidden_states(
        ids[:, :width].to(policy.device), mask[:, :width].to(policy.device)
    )
    last = hidden[torch.arange(len(ids)), mask.sum(dim=1) - 1]
    allowed = None if action_masks is None else torch.as_tensor(action_masks).bool()
    logits = policy.logits(
        last, None if allowed is None else torch.atleast_2d(allowed).to(policy.device)
    )
    if generator is None:
        tokens = categorical.most_probable(logits)
    else:
        tokens, _ = categorical.sample(logits, generator)
    actions: NDArray[np.int64] = tokens.numpy(force=True)
    return actions if batched else actions[0]
