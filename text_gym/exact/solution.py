"""The exact answers about one prompt of a small task.

All completions are enumerated, so every number is exact up to float64 rounding. Divergences and
entropies are those of whole completions, in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from text_gym.exact.best_of_n import BestOfN, best_of_n, log_best_probs
from text_gym.exact.evaluation import PolicyValue, evaluate
from text_gym.exact.policies import (
    LogProbs,
    TabularPolicy,
    policy_of_weights,
    tabulate,
    uniform_over,
    uniform_policy,
)
from text_gym.exact.recursion import Table, Tables, Values, along_paths, backed_up
from text_gym.exact.reward_distribution import (
    Frontier,
    RewardDistribution,
    frontier,
    reward_distribution,
)
from text_gym.exact.soft_optimum import SoftOptimum, soft_optimum
from text_gym.exact.tree import TextTree


@dataclass(frozen=True, eq=False)
class Solution:
    """Answers questions about one prompt exactly; `text_gym.exact.solve` makes it.

    Where the methods take a policy, that is any function from states to log-probs, see
    `text_gym.exact.LogProbs`; `tabulate` makes one that is not asked about a state twice. They
    raise ValueError if it does not return normalised log-probs of shape (k, V), or gives none of
    the tokens allowed in a state any probability.

    Attributes:
        tree: The states and completions.
        rewards: What each token is paid, (S, V) by depth: 0 unless it finishes a text.
        chunk: Most states that a policy is asked about at once.
    """

    tree: TextTree
    rewards: Tables
    chunk: int = 512

    @property
    def n_completions(self) -> int:
        """Number of completions."""
        return self.tree.n_completions

    @property
    def n_states(self) -> int:
        """Number of states in which a token can be written."""
        return sum(len(depth.tokens) for depth in self.tree.depths)

    @cached_property
    def _optimum(self) -> tuple[list[Values], list[Table]]:
        def highest(number: int, table: Table) -> Values:
            allowed = self.tree.depths[number].allowed
            return np.asarray(np.where(allowed, table, -np.inf).max(axis=1))

        return backed_up(self.tree, self.rewards, highest)

    @property
    def optimal_return(self) -> float:
        """The highest reward of any completion."""
        return float(self.optimal_values[0][0])

    @property
    def optimal_values(self) -> list[Values]:
        """The highest reward that can still be had from every state, (S,) by depth."""
        return self._optimum[0]

    @property
    def optimal_action_values(self) -> list[Table]:
        """The same once a token has been written, (S, V); 0 at tokens that are not allowed."""
        return self._optimum[1]

    @property
    def optimal_policy(self) -> TabularPolicy:
        """The policy that draws uniformly among the best tokens of every state."""
        best = [
            depth.allowed & (table == values[:, None])
            for depth, values, table in zip(self.tree.depths, *self._optimum, strict=True)
        ]
        return uniform_over(self.tree, best)

    def optimal_completions(self, limit: int = 100) -> list[tuple[int, ...]]:
        """Returns the token ids of completions of the highest reward, at most `limit` of them."""
        returns = along_paths(self.tree, self.rewards)
        highest = self._at_ends(returns).max()
        best: list[tuple[int, ...]] = []
        for depth, table in zip(self.tree.depths, returns, strict=True):
            rows, last = np.nonzero(depth.ends & (table == highest))
            room = slice(limit - len(best))
            token_ids = np.column_stack([depth.tokens[rows[room]], last[room]])
            best.extend(map(tuple, token_ids.tolist()))
        return best

    @property
    def uniform_policy(self) -> TabularPolicy:
        """The policy that draws every allowed token with equal probability."""
        return uniform_policy(self.tree)

    def tabulate(self, policy: LogProbs) -> TabularPolicy:
        """Asks a policy about every state once, renormalised over the tokens that are allowed."""
        return tabulate(self.tree, policy, self.chunk)

    def evaluate(self, policy: LogProbs, reference: LogProbs | None = None) -> PolicyValue:
        """Returns a policy's expected reward, KL, entropy and the values of all states under it."""
        others = None if reference is None else self.tabulate(reference)
        return evaluate(self.rewards, self.tabulate(policy), others)

    def regret(
        self, policy: LogProbs, reference: LogProbs | None = None, beta: float = 0.0
    ) -> float:
        """Returns how far a policy falls short of the highest E[R], or E[R] − β·KL.

        With β > 0 that is β·KL(π‖π*), π* being the soft-optimal policy.

        Raises:
            ValueError: If β is not 0 and there is no reference, or it is below 0.
        """
        if beta == 0:
            return self.optimal_return - self.evaluate(policy).expected_reward
        if reference is None:
            raise ValueError(f"reference must be given where beta is not 0, got beta={beta}")
        reference = self.tabulate(reference)
        found = self.evaluate(policy, reference)
        return self.soft_optimum(reference, beta).value - found.expected_reward + beta * found.kl

    def soft_optimum(self, reference: LogProbs, beta: float) -> SoftOptimum:
        """Returns the policy with the highest E[R] − β·KL(π‖π₀), its value, reward and KL.

        Raises:
            ValueError: If β is not above 0 and finite.
        """
        return soft_optimum(self.rewards, self.tabulate(reference), beta)

    def reward_distribution(self, policy: LogProbs) -> RewardDistribution:
        """Returns how the reward of a policy's completions is distributed."""
        log_probs = self.tabulate(policy).completion_log_probs
        returns = along_paths(self.tree, self.rewards)
        return reward_distribution(self._at_ends(returns), self._at_ends(log_probs))

    def frontier(self, reference: LogProbs, betas: ArrayLike) -> Frontier:
        """Returns the reward-KL frontier at prices β of KL, (N,) each.

        Raises:
            ValueError: If a β is not above 0 and finite.
        """
        return frontier(self.reward_distribution(reference), betas)

    def best_of_n(self, reference: LogProbs, n: int) -> BestOfN:
        """Returns reward and KL of the best of n draws from the reference.

        Raises:
            ValueError: If n is below 1.
        """
        return best_of_n(self.reward_distribution(reference), n)

    def best_of_n_policy(self, reference: LogProbs, n: int) -> TabularPolicy:
        """Returns the token by token policy whose completions are distributed as the best of n.

        Raises:
            ValueError: If n is below 1.
        """
        reference = self.tabulate(reference)
        distribution = self.reward_distribution(reference)
        log_ratios = log_best_probs(distribution, n) - distribution.log_probs
        weights = []
        returns = along_paths(self.tree, self.rewards)
        for rewards, log_probs in zip(returns, reference.completion_log_probs, strict=True):
            levels = np.searchsorted(distribution.rewards, rewards)
            weights.append(log_probs + log_ratios[np.minimum(levels, len(log_ratios) - 1)])
        return policy_of_weights(self.tree, weights)

    def _at_ends(self, tables: Tables) -> NDArray[np.float64]:
        """Returns the numbers at tokens that finish a text, (n_completions,)."""
        return np.concatenate(
            [table[depth.ends] for depth, table in zip(self.tree.depths, tables, strict=True)]
        )
