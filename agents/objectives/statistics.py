"""What a step says of itself: how far the policy has moved, how much its values explain.

Scalars without gradient, over the counted positions of the call. Nothing is learnt from them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.objectives.kl import kl_estimate
from agents.objectives.losses import MAX_LOG_RATIO
from agents.objectives.masked import masked_mean, masked_var


class RatioStatistics(NamedTuple):
    """How far a policy has moved from the one that sampled.

    Attributes:
        approx_kl: KL(π_old ‖ π) in nats per token, by the k3 estimator.
        ratio_mean: Mean of π / π_old.
        ratio_var: Mean of (π / π_old - 1)², its variance where the mean is 1, as it is on average.
        ratio_min: Smallest π / π_old.
        ratio_max: Largest π / π_old.
    """

    approx_kl: Tensor
    ratio_mean: Tensor
    ratio_var: Tensor
    ratio_min: Tensor
    ratio_max: Tensor


@torch.no_grad()
def ratio_statistics(log_probs: Tensor, old_log_probs: Tensor, mask: Tensor) -> RatioStatistics:
    """Describe the ratios π / π_old of the tokens that π_old chose.

    Args:
        log_probs: (B, T), under the policy being trained.
        old_log_probs: (B, T), under the policy that sampled.
        mask: (B, T) bool, True = chosen by the policy.

    Raises:
        ValueError: If nothing is counted, or a shape does not fit.
    """
    log_ratio = torch.where(mask, log_probs - old_log_probs, 0)
    counted = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()[mask]
    return RatioStatistics(
        approx_kl=masked_mean(kl_estimate(old_log_probs, log_probs, "k3"), mask),
        ratio_mean=counted.mean(),
        ratio_var=(counted - 1).square().mean(),
        ratio_min=counted.min(),
        ratio_max=counted.max(),
    )


@torch.no_grad()
def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """Compute the share of the returns' variance that the values explain: 1 - Var[R - V] / Var[R].

    1 is a perfect value function, 0 no better than a constant, below 0 worse than one.

    Args:
        values: (B, T).
        returns: (B, T).
        mask: (B, T) bool, True = chosen by the policy.

    Returns:
        Scalar, NaN where all returns are equal.

    Raises:
        ValueError: If nothing is counted.
    """
    variance = masked_var(returns, mask)
    unexplained = masked_var(returns - values, mask)
    return torch.where(variance == 0, torch.nan, 1 - unexplained / variance)
