"""Credit without a bootstrap: returns as they were sampled, minus a baseline.

The advantages of REINFORCE, RLOO and GRPO. Those of whole episodes are (B,), `over_tokens` gives
them to the tokens. A penalty for KL is already in the rewards (`agents.objectives.kl`). Monte Carlo
with a learnt baseline is `generalized_advantage_estimation` at λ = 1, not repeated here.

This module knows no policy: a baseline must not depend on the action it is subtracted from, and
each docstring says whether it does.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from agents.objectives.advantages import generalized_advantage_estimation
from agents.objectives.group_weights import exponential_weights
from agents.objectives.groups import group_mean, group_sizes, group_std, group_sum, require_groups
from agents.objectives.masked import masked_mean, whiten

ScaleBy = Literal["group", "batch", "nothing"]

_STD_FLOOR = 1e-4


def monte_carlo_returns(
    rewards: Tensor, mask: Tensor, bootstrap_values: Tensor, *, gamma: float = 1.0
) -> Tensor:
    """Sum what is paid from each token on: G_t = r_t + γ G_t⁺.

    t⁺ is the next counted position; after the last one G is the bootstrap value.

    Source: Williams 1992, "Simple statistical gradient-following algorithms for connectionist
    reinforcement learning", https://doi.org/10.1007/BF00992696.

    Args:
        rewards: (B, T), paid for the action at t.
        mask: (B, T) bool, True = chosen by the policy.
        bootstrap_values: (B,), what is to come where the episode was truncated, 0 elsewhere.
        gamma: Discount γ per counted position.

    Returns:
        (B, T), 0 where the mask is False, without gradient.

    Raises:
        ValueError: If the shapes do not fit together.

    Example:
        >>> mask = torch.tensor([[True, True, False]])
        >>> monte_carlo_returns(torch.tensor([[1.0, 2.0, 9.0]]), mask, torch.zeros(1))
        tensor([[3., 2., 0.]])
    """
    no_values = torch.zeros_like(rewards)
    return generalized_advantage_estimation(
        rewards, no_values, mask, bootstrap_values, gamma=gamma, gae_lambda=1.0
    )[1]


def batch_mean_advantages(returns: Tensor, mask: Tensor, *, scale: bool = True) -> Tensor:
    """Subtract the mean of all tokens' returns, and divide by their standard deviation.

    A_t = (G_t - μ) / √(σ² + 1e-8), over the counted tokens of the whole batch, however many prompts
    are in it. The mean contains the token's own return, a bias that vanishes with the batch.

    Source: REINFORCE++ (Hu et al. 2025, arXiv:2501.03262), with `monte_carlo_returns` of rewards
    from which the KL penalty was taken.

    Args:
        returns: (B, T).
        mask: (B, T) bool, True = chosen by the policy.
        scale: Divide by the standard deviation.

    Returns:
        (B, T), 0 where the mask is False.

    Raises:
        ValueError: If nothing is counted.
    """
    if scale:
        return whiten(returns, mask)
    return torch.where(mask, returns - masked_mean(returns, mask), 0)


def leave_one_out_advantages(scores: Tensor, group_ids: Tensor) -> Tensor:
    """Compare each episode with the mean of the others of its group.

    A_i = R_i - 1/(G - 1) Σ_{j≠i} R_j. The baseline does not depend on the episode: no bias.

    Source: RLOO (Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free!"; Ahmadian et
    al. 2024, arXiv:2402.14740).

    Args:
        scores: (B,), R: the reward of each episode, less its KL penalty.
        group_ids: (B,) integers, equal for the episodes of one prompt.

    Returns:
        (B,).

    Raises:
        ValueError: If the shapes differ, or a group has a single member.

    Example:
        >>> leave_one_out_advantages(torch.tensor([3.0, 0.0, 9.0, 1.0]), torch.tensor([4, 4, 8, 8]))
        tensor([ 3., -3.,  8., -8.])
    """
    require_groups(group_ids)
    others = group_sum(scores, group_ids) - scores
    return scores - others / (group_sizes(group_ids) - 1)


def group_relative_advantages(scores: Tensor, group_ids: Tensor, *, scale_by: ScaleBy) -> Tensor:
    """Compare each episode with the mean of its group, in units of a spread.

    A_i = (R_i - mean_j R_j) / (std + 1e-4), the divisor of the variance being n - 1. The mean
    contains R_i: unscaled, this is (G - 1)/G times the leave-one-out advantage. Scaled by the group
    the objective is no longer E[R]: prompts whose rewards hardly differ weigh as much as any other.

    Source: GRPO (Shao et al. 2024, arXiv:2402.03300, section 4.1.2), there scaled by the group;
    unscaled in Dr. GRPO (Liu et al. 2025, arXiv:2503.20783). The floor is TRL's.

    Args:
        scores: (B,), R: the reward of each episode.
        group_ids: (B,) integers, equal for the episodes of one prompt.
        scale_by: The standard deviation of the episode's group, of the batch, or 1.

    Returns:
        (B,). A group of equal scores gets 0, but for rounding.

    Raises:
        ValueError: If the shapes differ, or a group has a single member.

    Example:
        >>> scores, group_ids = torch.tensor([3.0, 0.0, 9.0, 1.0]), torch.tensor([4, 4, 8, 8])
        >>> group_relative_advantages(scores, group_ids, scale_by="nothing")
        tensor([ 1.5000, -1.5000,  4.0000, -4.0000])
    """
    require_groups(group_ids)
    centred = scores - group_mean(scores, group_ids)
    match scale_by:
        case "group":
            return centred / (group_std(scores, group_ids) + _STD_FLOOR)
        case "batch":
            return centred / (scores.std() + _STD_FLOOR)
        case "nothing":
            return centred
    raise ValueError(f"scale_by must be 'group', 'batch' or 'nothing', but is {scale_by!r}")


def minimum_risk_advantages(
    scores: Tensor, log_probs: Tensor, copies: Tensor, group_ids: Tensor, *, sharpness: float
) -> Tensor:
    """Compare each text with what its group is worth under a sharpened policy.

    Of the distinct texts of a group, q_i = p_i^α / Σ_j p_j^α. The gradient of Σ_i q_i R_i is
    α Σ_i q_i (R_i - Σ_j q_j R_j) ∇log p_i; A_i is its weight, the factor α left out, times the
    group's size G, a text's share being divided among its copies. As α goes to 0 all distinct
    texts count alike, however often they were drawn.

    Source: minimum-risk training (Shen et al. 2016, "Minimum risk training for neural machine
    translation", arXiv:1512.02433, equations 13 to 15).

    Args:
        scores: (B,), R: the reward of each episode.
        log_probs: (B,), log p of each text.
        copies: (B,), how often the text is in its group.
        group_ids: (B,) integers, equal for the episodes of one prompt.
        sharpness: α, at least 0.

    Returns:
        (B,), without gradient; those of a group sum to 0.

    Raises:
        ValueError: If the shapes differ, or a group has a single member.

    Example:
        >>> scores, group_ids = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([5, 5, 5])
        >>> log_probs, copies = torch.tensor([0.0, 0.0, 0.0]), torch.tensor([2.0, 2.0, 1.0])
        >>> minimum_risk_advantages(scores, log_probs, copies, group_ids, sharpness=1.0)
        tensor([ 0.3750,  0.3750, -0.7500])
    """
    weights = exponential_weights(sharpness * log_probs - copies.log(), group_ids, kl_coef=1.0)
    expected = group_sum(weights * scores, group_ids)
    return group_sizes(group_ids) * weights * (scores - expected)


def over_tokens(advantages: Tensor, mask: Tensor) -> Tensor:
    """Give every chosen token the advantage of its episode.

    Args:
        advantages: (B,).
        mask: (B, T) bool, True = chosen by the policy.

    Returns:
        (B, T), 0 where the mask is False.

    Raises:
        ValueError: If there is not one advantage per episode.
    """
    if advantages.shape != mask.shape[:1]:
        raise ValueError(
            f"advantages must be one per episode, {tuple(mask.shape[:1])}, but have shape "
            f"{tuple(advantages.shape)}"
        )
    return torch.where(mask, advantages[:, None], 0)
