"""How much each text of a group counts when a policy is trained on its own texts, as on data.

Weights of a group sum to 1. Training on texts weighted so is maximum likelihood: no text is pushed
down, one is only pulled up less than another. This module does not know who wrote the texts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.objectives.groups import group_sum, require_groups


@torch.no_grad()
def exponential_weights(scores: Tensor, group_ids: Tensor, kl_coef: float) -> Tensor:
    """Weigh texts by w_i = exp(R_i/β) / Σ_j exp(R_j/β), over each group.

    With R less its KL penalty, exp(R_i/β) is exp(r_i/β) π_ref/π, the importance weight of
    π* ∝ π_ref exp(r/β) over the policy π that wrote the texts: weighted likelihood then descends
    KL(π* ‖ π), which is 0 at the optimum of E[r] - β KL(π ‖ π_ref).

    Source: reward-weighted regression (Peters and Schaal 2007,
    https://doi.org/10.1145/1273496.1273590), self-normalised as in MPO's E-step (Abdolmaleki et al.
    2018, arXiv:1806.06920, section 4.1).

    Args:
        scores: (B,), R.
        group_ids: (B,) integers, equal for the episodes of one prompt.
        kl_coef: β, reward per nat, above 0.

    Returns:
        (B,), those of a group summing to 1.

    Raises:
        ValueError: If the shapes differ, a group has a single member, or β is not above 0.

    Example:
        >>> scores, group_ids = torch.tensor([0.0, 0.5, 7.0, 7.0]), torch.tensor([4, 4, 8, 8])
        >>> exponential_weights(scores, group_ids, kl_coef=0.5)
        tensor([0.2689, 0.7311, 0.5000, 0.5000])
    """
    if not kl_coef > 0:
        raise ValueError(f"kl_coef must be above 0, but is {kl_coef!r}")
    best = _best(scores, group_ids)
    weights = ((scores - best) / kl_coef).exp()  # at most 1: nothing overflows
    return weights / group_sum(weights, group_ids)


@torch.no_grad()
def best_weights(scores: Tensor, group_ids: Tensor, keep: int) -> Tensor:
    """Weigh the `keep` best texts of each group alike, and the others by 0.

    Texts as good as the last one that is kept are kept too, so that the order of a group does not
    matter and a group of equal scores counts as a whole.

    Source: expert iteration on language models (Anthony et al. 2017, arXiv:1705.08439; RAFT, Dong
    et al. 2023, arXiv:2304.06767, keeps the best one).

    Args:
        scores: (B,), R.
        group_ids: (B,) integers, equal for the episodes of one prompt.
        keep: At least 1.

    Returns:
        (B,), those of a group summing to 1.

    Raises:
        ValueError: If the shapes differ, a group has a single member, or `keep` is below 1.

    Example:
        >>> scores, group_ids = torch.tensor([1.0, 3.0, 2.0, 3.0]), torch.tensor([4, 4, 4, 4])
        >>> best_weights(scores, group_ids, keep=1)
        tensor([0.0000, 0.5000, 0.0000, 0.5000])
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, but is {keep!r}")
    _best(scores, group_ids)
    better = (group_ids[:, None] == group_ids) & (scores > scores[:, None])
    kept = (better.sum(dim=1) < keep).to(scores.dtype)
    return kept / group_sum(kept, group_ids)


def _best(scores: Tensor, group_ids: Tensor) -> Tensor:
    """Returns the largest score of each episode's group, (B,)."""
    require_groups(group_ids)
    if scores.shape != group_ids.shape:
        raise ValueError(
            f"scores must be one per episode, {tuple(group_ids.shape)}, but have shape "
            f"{tuple(scores.shape)}"
        )
    return torch.where(group_ids[:, None] == group_ids, scores, -torch.inf).amax(dim=1)
