"""The distribution over the next token: sampling, log-probs, entropy.

Pure functions of logits (N, V), one row per decision. They do not know where logits come from: a
temperature, if any, has already been applied, and rollout, reference and update pass the same
action mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EXCLUDED = torch.finfo(torch.float32).min


def masked_logits(logits: Tensor, action_mask: Tensor | None) -> Tensor:
    """Returns logits that give no probability to actions outside the mask.

    Args:
        logits: (N, V).
        action_mask: (N, V) bool, True = allowed; None allows everything.
    """
    return logits if action_mask is None else logits.masked_fill(~action_mask, _EXCLUDED)


def sample(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draws one action per row of logits (N, V) and returns them, (N,)."""
    probabilities = torch.softmax(logits, dim=-1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def log_prob(logits: Tensor, actions: Tensor) -> Tensor:
    """Returns log π(a) = z_a - log Σ exp z of the given actions, (N,).

    Args:
        logits: z, (N, V).
        actions: (N,).
    """
    chosen = logits.gather(-1, actions[:, None]).squeeze(-1)
    return chosen - logits.logsumexp(-1)


def entropy(logits: Tensor) -> Tensor:
    """Returns -Σ π log π of each row, (N,), in nats; excluded actions add nothing."""
    log_probabilities = torch.log_softmax(logits, dim=-1)
    return -(log_probabilities.exp() * log_probabilities).sum(-1)
