"""Losses of a reward that is learnt: how likely it makes what people preferred, or rated.

Functions of rewards of whole texts. They do not know who judged, nor what computes the rewards.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def comparison_losses(
    differences: Tensor, ties: Tensor | None = None, tie_log_odds: Tensor | None = None
) -> Tensor:
    """Returns -log P of what was said of each of n comparisons, (n,).

    With η the difference of the rewards, in nats, and τ the log-odds of a tie over either side
    between equals, P(first) ∝ exp(η/2), P(tie) ∝ exp(τ), P(second) ∝ exp(-η/2). Where nobody ties
    this is Bradley and Terry's σ(η), and so it is, whatever τ, of those who do not tie: unlike a
    tie that counts as half a preference for either, it leaves the odds of the others as they are.

    Source: Davidson 1970, Journal of the American Statistical Association 65(329); Bradley and
    Terry 1952, Biometrika 39.

    Args:
        differences: η, (n,): reward of the first text less that of the second.
        ties: (n,) bool, where neither was preferred; elsewhere it was the first. None: nowhere.
        tie_log_odds: τ, a scalar; not needed without ties.

    Raises:
        ValueError: If there are ties and no τ.

    Example:
        >>> comparison_losses(torch.zeros(1))
        tensor([0.6931])
        >>> comparison_losses(torch.zeros(2), torch.tensor([True, False]), torch.zeros(()))
        tensor([1.0986, 1.0986])
    """
    if ties is None:
        return -logsigmoid(differences)
    if tie_log_odds is None:
        raise ValueError("tie_log_odds must be given where there are ties, got None")
    half, tie = differences / 2, tie_log_odds.to(differences.dtype).expand_as(differences)
    log_probs = torch.stack([half, tie, -half], dim=-1).log_softmax(dim=-1)
    return -torch.where(ties, log_probs[..., 1], log_probs[..., 0])


def rating_losses(rewards: Tensor, ratings: Tensor, slope: Tensor) -> Tensor:
    """Returns half of the squared error of each of n ratings, (n,).

    Args:
        rewards: (n,).
        ratings: (n,), in standard deviations from their mean.
        slope: Standard deviations for a unit of reward, a scalar.

    Example:
        >>> rating_losses(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor(2.0))
        tensor([2.])
    """
    return (slope * rewards - ratings).square() / 2
