"""The best trade of reward for divergence from a reference policy, in every state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from text_gym.exact.evaluation import evaluate
from text_gym.exact.policies import TabularPolicy
from text_gym.exact.recursion import Table, Tables, Values, backed_up, log_mean_exp


class SoftOptimum(NamedTuple):
    """Holds the policy with the highest E[R] − β·KL(π‖π₀).

    Attributes:
        beta: β, in reward per nat.
        value: That maximum, β·log E_π₀[exp(R/β)].
        expected_reward: Its E[R].
        kl: Its KL to the reference, in nats per completion.
        policy: π*(y) ∝ π₀(y)·exp(R(y)/β).
        values: The highest E[R] − β·KL to come from every state, (S,) by depth.
        action_values: The same once a token has been written, the token's own KL not charged,
            (S, V) by depth; 0 at tokens that are not allowed.
    """

    beta: float
    value: float
    expected_reward: float
    kl: float
    policy: TabularPolicy
    values: list[Values]
    action_values: list[Table]


def soft_optimum(rewards: Tables, reference: TabularPolicy, beta: float) -> SoftOptimum:
    """Solves V(s) = β·log Σ_a π₀(a|s)·exp(Q(s, a)/β) backwards.

    The policy is π*(a|s) = π₀(a|s)·exp((Q(s, a) − V(s))/β). All is computed relative to the best
    token of each state, so that no β is too small.

    Args:
        rewards: What each token is paid, (S, V) by depth.
        reference: π₀.
        beta: β, above 0.

    Raises:
        ValueError: If β is not above 0 and finite.
    """
    if not (np.isfinite(beta) and beta > 0):
        raise ValueError(f"beta must be above 0 and finite, got {beta}")
    tables: list[Table] = []

    def soft_maximum(number: int, table: Table) -> Values:
        log_probs = reference.tables[number]
        possible = log_probs > -np.inf
        highest = np.where(possible, table, -np.inf).max(axis=1)
        gaps = np.where(possible, table - highest[:, None], 0.0)
        with np.errstate(over="ignore"):  # exp(−∞) = 0 is meant
            exponents = gaps / beta
        log_totals = log_mean_exp(log_probs, exponents)
        tables.append(log_probs + exponents - log_totals[:, None])
        return np.asarray(highest + beta * log_totals)

    values, action_values = backed_up(reference.tree, rewards, soft_maximum)
    policy = TabularPolicy(reference.tree, tables[::-1])
    found = evaluate(rewards, policy, reference)
    return SoftOptimum(
        beta=beta,
        value=float(values[0][0]),
        expected_reward=found.expected_reward,
        kl=found.kl,
        policy=policy,
        values=values,
        action_values=action_values,
    )
