"""Which episodes of a rollout are of one prompt, as the environments report it."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.objectives.groups import require_groups
from agents.policy.token_batch import TokenBatch
from agents.rollout.buffer import Rollout


def reported_groups(rollout: Rollout, size: int | None = None) -> Tensor:
    """Returns the group of each episode, (B,).

    Args:
        rollout: B episodes.
        size: Episodes in every group; None: two or more, and not the same number in each.

    Raises:
        ValueError: If the environments reported no groups, or one is not of that size.
    """
    if rollout.group_ids is None:
        raise ValueError(
            "envs must report the group_id of every episode at reset, and do not; "
            f"prompts=GroupedPrompts(prompts, size={size or 'k'}) gives it"
        )
    require_groups(rollout.group_ids, size=size)
    return rollout.group_ids


def copies(texts: TokenBatch, group_ids: Tensor) -> Tensor:
    """Counts how often each text was written within its group, (B,).

    Args:
        texts: B episodes.
        group_ids: Of each episode, (B,).
    """
    written = torch.where(texts.completion_mask, texts.input_ids, -1)
    rows = torch.cat([group_ids[:, None], written], dim=1)
    _, places, counts = rows.unique(dim=0, return_inverse=True, return_counts=True)
    found: Tensor = counts[places]
    return found.to(torch.float32)
