"""Davidson's model of one comparison that may be tied.

With η by how much the left one is better, in logits, and τ the log-odds of a tie over either side
when both are equally good,

    P(left) ∝ exp(η/2),   P(tie) ∝ exp(τ),   P(right) ∝ exp(−η/2).

Given that there is no tie, this is Bradley and Terry's model: P(left) = 1 / (1 + exp(−η)). Knows
neither items nor annotators.

Source: Davidson, 1970, "On extending the Bradley-Terry model to accommodate ties in paired
comparison experiments", Journal of the American Statistical Association 65(329).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from text_gym.feedback.aggregation.comparisons import Floats, Indices


class Terms(NamedTuple):
    """Holds log P(outcome) of N comparisons with its derivatives, each (N,)."""

    log_probs: Floats
    by_eta: Floats
    by_tau: Floats
    by_eta_eta: Floats
    by_eta_tau: Floats
    by_tau_tau: Floats


def outcome_log_probs(eta: Floats, tau: Floats) -> Floats:
    """Returns the log-probs of left, tie and right, (N, 3).

    Args:
        eta: (N,).
        tau: (N,).

    Example:
        >>> np.exp(outcome_log_probs(np.array([np.log(4.0)]), np.array([0.0]))).round(4)
        array([[0.5714, 0.2857, 0.1429]])
    """
    logits = np.stack([eta / 2, tau, -eta / 2], axis=1)
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


def outcome_terms(eta: Floats, tau: Floats, outcome: Indices) -> Terms:
    """Returns the log-likelihood of every comparison and its first and second derivatives.

    With y the outcome (1, 0, −1) and m = P(left) − P(right):

        ∂/∂η = (y − m)/2                         ∂/∂τ = [y = 0] − P(tie)
        ∂²/∂η² = −(1 − P(tie) − m²)/4            ∂²/∂τ² = −P(tie)·(1 − P(tie))
        ∂²/∂η∂τ = m·P(tie)/2

    Args:
        eta: (N,).
        tau: (N,).
        outcome: (N,) of 1, 0 and −1.
    """
    log_probs = outcome_log_probs(eta, tau)
    left, tie, right = np.exp(log_probs).T
    lead = left - right
    return Terms(
        log_probs=log_probs[np.arange(len(outcome)), 1 - outcome],
        by_eta=(outcome - lead) / 2,
        by_tau=(outcome == 0) - tie,
        by_eta_eta=-(1 - tie - lead**2) / 4,
        by_eta_tau=lead * tie / 2,
        by_tau_tau=-tie * (1 - tie),
    )
