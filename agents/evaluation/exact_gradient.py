"""The exact policy gradient, by differentiating the exact objective over all completions.

The objective is E[R] − β·KL(π‖π₀), computed backwards over the states of a tree of texts. Its
gradient is taken in two stages, by the chain rule: first with respect to the log-probs of every
token in every state, then, a few states at a time, with respect to the parameters. So each state
goes through the model twice, and never more than one part of them with its graph.

Knows the tree by the shape of its arrays only; `text_gym.exact.solve` makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.next_token import NextTokenLogProbs, next_token_log_probs

LogProbs = Callable[[NDArray[np.int64], NDArray[np.intp]], Any]


class Depth(Protocol):
    """Describes the S states in which equally many tokens have been written."""

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """The tokens that may be written next, (S, V)."""

    @property
    def goes_on(self) -> NDArray[np.bool_]:
        """Those that lead, in row-major order, to the states of the next depth, (S, V)."""


class Tree(Protocol):
    """Describes all states of one prompt."""

    @property
    def depths(self) -> Sequence[Depth]:
        """The states by the number of tokens written, from 0 upwards."""

    def states(self, depth: int, rows: slice) -> NDArray[np.int64]:
        """Returns prompt and tokens of some states of one depth, (k, L)."""


class Table(Protocol):
    """Describes the table of a policy."""

    @property
    def tables(self) -> Sequence[NDArray[np.float64]]:
        """The log-probs, (S, V) by depth, −∞ at tokens that are not allowed."""


class Solved(Protocol):
    """Describes a tree of texts with its rewards, as `text_gym.exact.Solution` is."""

    @property
    def tree(self) -> Tree:
        """The states."""

    @property
    def rewards(self) -> Sequence[NDArray[np.float64]]:
        """What each token is paid, (S, V) by depth."""

    def tabulate(self, policy: LogProbs) -> Table:
        """Asks a policy about every state, and renormalises over the tokens that are allowed."""


class ExactGradient(NamedTuple):
    """Holds an objective and its gradient.

    Attributes:
        objective: E[R] − β·KL(π‖π₀).
        expected_reward: E[R].
        kl: KL(π‖π₀), in nats per completion; 0 without a reference.
        gradients: Of the objective, one for each of the parameters: the direction of ascent. That
            of the value head is 0.
    """

    objective: float
    expected_reward: float
    kl: float
    gradients: list[Tensor]


def exact_gradient(
    policy: CausalLMPolicy,
    solution: Solved,
    *,
    reference: LogProbs | None = None,
    beta: float = 0.0,
    chunk: int = 1024,
) -> ExactGradient:
    """Returns the exact objective of a policy, and its gradient.

    Both policies are renormalised over the tokens that are allowed.

    Args:
        policy: π, the gradient being with respect to `list(policy.parameters())`.
        solution: The states and rewards, as `text_gym.exact.solve` gives them.
        reference: π₀, a function of texts and lengths; `NextTokenLogProbs` makes one of a policy.
        beta: β, reward per nat.
        chunk: Most states in one forward pass.

    Raises:
        ValueError: If β is not 0 and there is no reference, or the KL to it is infinite.
    """
    if beta != 0 and reference is None:
        raise ValueError(f"reference must be given where beta is not 0, got beta={beta}")
    depths = solution.tree.depths
    log_probs = _tensors(solution.tabulate(NextTokenLogProbs(policy, chunk)).tables)
    for table in log_probs:
        table.requires_grad_()
    expected_reward = _expectation(depths, log_probs, _tensors(solution.rewards))
    kl = torch.zeros((), dtype=torch.float64)
    if reference is not None:
        others = _tensors(solution.tabulate(reference).tables)
        kl = _expectation(depths, log_probs, _log_ratios(log_probs, others))
    if not kl.isfinite():
        raise ValueError(f"reference must not exclude what the policy writes, got a KL of {kl}")
    objective = expected_reward - beta * kl
    gradients = _chained(policy, solution.tree, torch.autograd.grad(objective, log_probs), chunk)
    return ExactGradient(objective.item(), expected_reward.item(), kl.item(), gradients)


def _expectation(
    depths: Sequence[Depth], log_probs: Sequence[Tensor], rewards: Sequence[Tensor]
) -> Tensor:
    """Returns the expected sum of what tokens are paid, backwards: V = Σ π·(r + V')."""
    below = torch.zeros(0, dtype=torch.float64)
    for depth, log_p, paid in reversed(list(zip(depths, log_probs, rewards, strict=True))):
        later = torch.zeros_like(paid).masked_scatter(_mask(depth.goes_on), below)
        below = (log_p.exp() * (paid + later)).sum(dim=1)
    return below.squeeze()


def _log_ratios(log_probs: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    """Returns log π − log π₀, 0 at tokens that π excludes."""
    ratios = []
    for log_p, other in zip(log_probs, others, strict=True):
        possible = log_p > -torch.inf
        ratios.append(torch.where(possible, log_p, 0) - torch.where(possible, other, 0))
    return ratios


def _chained(
    policy: CausalLMPolicy, tree: Tree, weights: Sequence[Tensor], chunk: int
) -> list[Tensor]:
    """Returns Σ w·∂(log-prob)/∂θ over all tables, for each parameter θ."""
    parameters = list(policy.parameters())
    totals = [torch.zeros_like(parameter) for parameter in parameters]
    for number, weight in enumerate(weights):
        for first in range(0, len(weight), chunk):
            rows = slice(first, first + chunk)
            log_probs = _log_probs(policy, tree, number, rows)
            parts = torch.autograd.grad(
                log_probs, parameters, weight[rows].to(policy.device), allow_unused=True
            )
            for total, part in zip(totals, parts, strict=True):
                if part is not None:
                    total += part
    return totals


def _log_probs(policy: CausalLMPolicy, tree: Tree, depth: int, rows: slice) -> Tensor:
    """Returns the policy's log-probs of some states, renormalised, with their graph."""
    input_ids = torch.from_numpy(tree.states(depth, rows)).to(policy.device)
    lengths = torch.full((len(input_ids),), input_ids.shape[1], device=policy.device)
    allowed = _mask(tree.depths[depth].allowed[rows]).to(policy.device)
    log_probs = next_token_log_probs(policy, input_ids, lengths)
    return log_probs.masked_fill(~allowed, -torch.inf).log_softmax(dim=-1)


def _tensors(tables: Sequence[NDArray[np.float64]]) -> list[Tensor]:
    return [torch.tensor(table) for table in tables]


def _mask(mask: NDArray[np.bool_]) -> Tensor:
    return torch.tensor(mask)  # a copy: the table may be a broadcast, read-only view
