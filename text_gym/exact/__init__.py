"""Exact answers about small tasks: every completion is enumerated.

For any small environment and any reward function, `solve` gives the optimal return and policy and
the value of every state; for a reference policy, the soft-optimal policy and the whole reward-KL
frontier; for any policy, its exact expected reward, KL, entropy and regret; and what best-of-n
sampling achieves. A learner's numbers can be held against these instead of being guessed at.

What is enumerated: with G tokens that go on and E that end a text of at most T tokens,
E·(1 + G + ... + G^(T−1)) + G^T completions and 1 + G + ... + G^(T−1) states. A policy is asked
about each state once, never about each completion. Several million completions are feasible.

Needs numpy alone. The gradient of the exact objective, for policies that learn, is in
`agents.evaluation.exact_gradient`.
"""

from __future__ import annotations

from text_gym.exact.best_of_n import BestOfN
from text_gym.exact.evaluation import PolicyValue
from text_gym.exact.policies import LogProbs, TabularPolicy, policy_of_weights
from text_gym.exact.reward_distribution import Frontier, RewardDistribution
from text_gym.exact.soft_optimum import SoftOptimum
from text_gym.exact.solution import Solution
from text_gym.exact.solver import solve
from text_gym.exact.tree import TextTree, count_completions

__all__ = [
    "BestOfN",
    "Frontier",
    "LogProbs",
    "PolicyValue",
    "RewardDistribution",
    "SoftOptimum",
    "Solution",
    "TabularPolicy",
    "TextTree",
    "count_completions",
    "policy_of_weights",
    "solve",
]
