"""What a reward makes of several texts to each prompt: the best to imitate, pairs to prefer.

The texts keep their token ids, and the tokens that were allowed when they were written.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.algorithms.examples import Demonstrations, Preferences
from agents.objectives.groups import require_groups
from agents.rollout.buffer import Rollout
from agents.rollout.groups import reported_groups


def group_rows(group_ids: Tensor) -> list[Tensor]:
    """Returns the rows of each group of two or more, in the order in which they first occur.

    Raises:
        ValueError: If a group has a single member.

    Example:
        >>> group_rows(torch.tensor([7, 2, 7, 2]))
        [tensor([0, 2]), tensor([1, 3])]
    """
    require_groups(group_ids)
    in_order = dict.fromkeys(group_ids.tolist())
    return [(group_ids == group).nonzero().squeeze(1) for group in in_order]


def best_of_groups(scores: Tensor, group_ids: Tensor) -> Tensor:
    """Returns the row of the best text of each group, (n,), the first one where several are.

    Args:
        scores: (B,).
        group_ids: (B,) integers, equal for the texts of one prompt.

    Raises:
        ValueError: If a group has a single member.

    Example:
        >>> best_of_groups(torch.tensor([1.0, 5.0, 3.0, 5.0]), torch.tensor([7, 2, 7, 2]))
        tensor([2, 1])
    """
    return torch.stack([rows[scores[rows].argmax()] for rows in group_rows(group_ids)])


def best_demonstrations(rollout: Rollout) -> Demonstrations:
    """Returns the best text of each group, each with the weight 1.

    Raises:
        ValueError: If the environment reported no groups, or one has a single member.
    """
    rows = best_of_groups(rollout.scores, reported_groups(rollout))
    return Demonstrations(rollout.texts.select(rows), torch.ones(len(rows), device=rows.device))


def best_against_worst(rollout: Rollout) -> Preferences:
    """Returns the best text of each group against its worst, by the rewards of a rollout.

    The margin is the difference of their rewards, the weight 1. Groups whose rewards are all equal
    prefer nothing and are left out.

    Raises:
        ValueError: As `best_demonstrations`, or if nothing is left.
    """
    scores, pairs = rollout.scores, []
    for rows in group_rows(reported_groups(rollout)):
        best, worst = rows[scores[rows].argmax()], rows[scores[rows].argmin()]
        if scores[best] > scores[worst]:
            pairs.append(torch.stack([best, worst]))
    if not pairs:
        raise ValueError(
            "rewards must differ within a group to say which text is better, but are equal in all "
            f"of the {len(group_rows(reported_groups(rollout)))} groups"
        )
    chosen, rejected = torch.stack(pairs).unbind(dim=1)
    return Preferences(
        rollout.texts.select(chosen),
        rollout.texts.select(rejected),
        weights=torch.ones(len(pairs), device=chosen.device),
        margins=scores[chosen] - scores[rejected],
    )
