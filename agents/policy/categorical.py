"""The distribution over the next token: sampling, log-probs, entropy.

Pure functions of logits (N, V), one row per decision. They do not know where logits come from: a
temperature, if any, has already been applied, and rollout, reference and update pass the same
action mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

EXCLUDED = torch.finfo(torch.float32).min
"""The logit of an action outside the mask: finite, so that 0 times it is 0."""
_JUST_BELOW_1 = 1 - 2.0**-52


def masked_logits(logits: Tensor, action_mask: Tensor | None) -> Tensor:
    """Returns logits that give no probability to actions outside the mask.

    Args:
        logits: (N, V).
        action_mask: (N, V) bool, True = allowed; None allows everything.

    Raises:
        ValueError: If a row allows nothing.
    """
    if action_mask is None:
        return logits
    some = action_mask.any(dim=-1)
    if not bool(some.all()):
        raise ValueError(
            "action_mask must allow at least one action in every row, got none in rows "
            f"{(~some).nonzero().flatten().tolist()}"
        )
    return logits.masked_fill(~action_mask, EXCLUDED)


def most_probable(logits: Tensor) -> Tensor:
    """Returns the most probable action of each row of logits (N, V), (N,).

    Raises:
        ValueError: If a logit is not finite.
    """
    _require_finite(logits)
    return logits.argmax(dim=-1)


def sample(logits: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws one action per row of logits (N, V), by inverting the distribution function.

    One uniform number per row decides, where `torch.multinomial` draws one per action. Sums are
    kept in float64, so that the last of 50,000 actions gets its share.

    Returns:
        The actions and their log-probs, (N,) each.

    Raises:
        ValueError: If a logit is not finite.
    """
    _require_finite(logits)
    probabilities = torch.softmax(logits, dim=-1)
    # Converting and adding up in one step takes several times as long, for the same bits.
    cumulative = probabilities.double().cumsum(dim=-1)
    uniform = torch.rand(
        len(logits), 1, generator=generator, dtype=torch.float64, device=logits.device
    )
    # Rounding must not carry the threshold up to the total, past every action.
    threshold = uniform * (cumulative[:, -1:] * _JUST_BELOW_1)
    actions = torch.searchsorted(cumulative, threshold, right=True)
    return actions.squeeze(-1), probabilities.gather(-1, actions).squeeze(-1).log()


def _require_finite(logits: Tensor) -> None:
    low, high = torch.aminmax(logits)  # one pass, which NaN survives
    if not bool(0 * low + 0 * high == 0):
        broken = ~logits.isfinite()
        rows = broken.any(dim=-1).nonzero().flatten().tolist()
        raise ValueError(
            f"logits must be finite, got {logits[broken][0].item()} in {len(rows)} of "
            f"{len(logits)} rows, first in row {rows[0]}: the model computes no numbers there"
        )


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
