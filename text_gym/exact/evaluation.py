"""What a policy is worth, exactly: expected reward, divergence from a reference, entropy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from text_gym.exact.policies import TabularPolicy
from text_gym.exact.recursion import Table, Tables, Values, backed_up, expectation


class PolicyValue(NamedTuple):
    """Holds what a policy is worth; divergence and entropy in nats per completion.

    Attributes:
        expected_reward: E[R].
        kl: KL(π‖π₀) to the reference; infinite where π₀ excludes what π writes; 0 without one.
        entropy: Of the completions.
        values: V^π, the expected reward to come from every state, (S,) by depth.
        action_values: Q^π, the same once a token has been written, (S, V) by depth; 0 at tokens
            that are not allowed.
    """

    expected_reward: float
    kl: float
    entropy: float
    values: list[Values]
    action_values: list[Table]


def evaluate(
    rewards: Tables, policy: TabularPolicy, reference: TabularPolicy | None = None
) -> PolicyValue:
    """Goes through all states once, backwards; KL and entropy add up like rewards.

    Args:
        rewards: What each token is paid, (S, V) by depth.
        policy: π.
        reference: π₀, on the same tree.
    """
    probabilities = [np.exp(table) for table in policy.tables]

    def mean(number: int, table: Table) -> Values:
        return expectation(probabilities[number], table)

    def total(tables: Tables) -> float:
        return float(backed_up(policy.tree, tables, mean)[0][0][0])

    nothing = [np.zeros_like(table) for table in policy.tables]
    others = policy if reference is None else reference
    values, action_values = backed_up(policy.tree, rewards, mean)
    return PolicyValue(
        expected_reward=float(values[0][0]),
        kl=total(_log_ratios(probabilities, policy.tables, others.tables)),
        entropy=total(_log_ratios(probabilities, nothing, policy.tables)),
        values=values,
        action_values=action_values,
    )


def _log_ratios(probabilities: Tables, log_probs: Tables, others: Tables) -> list[Table]:
    """Returns log p − log q where a token has a probability, else 0."""
    return [
        np.subtract(log_p, log_q, where=possible > 0, out=np.zeros_like(log_p))
        for possible, log_p, log_q in zip(probabilities, log_probs, others, strict=True)
    ]
