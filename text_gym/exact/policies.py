"""Policies on a tree of texts: any function from states to log-probs, and the table of one.

Knows states and probabilities, not rewards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from text_gym.exact.recursion import Table, Tables, along_paths, backed_up, log_sum_exp
from text_gym.exact.tree import Mask, TextTree

LogProbs: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.intp]], Any]
"""A policy: `log_probs(input_ids, lengths) -> (k, V)`. Given k texts (prompt and tokens so far),
right-padded int64 (k, L), and their lengths (k,), it returns the log-probs of the next token. The
same function serves `text_gym.wrappers.ReferenceLogProb`."""

_SUM_TOLERANCE = 1e-3  # of 50,000 float32 probabilities; logits miss it by far


@dataclass(frozen=True, eq=False)
class TabularPolicy:
    """Holds the log-probs of every token in every state; can be called as a policy.

    Attributes:
        tree: The states.
        tables: Log-probs by depth, (S, V) each; −∞ at tokens that are not allowed.
    """

    tree: TextTree
    tables: Tables

    def __call__(self, input_ids: NDArray[np.int64], lengths: NDArray[np.intp]) -> Table:
        """Returns the log-probs of the next token of k texts, (k, V).

        Raises:
            ValueError: If a text is not a state: another prompt, too long, or finished.
        """
        input_ids, lengths = np.asarray(input_ids), np.asarray(lengths)
        start = len(self.tree.prompt_ids)
        if (lengths < start).any() or (input_ids[:, :start] != self.tree.prompt_ids).any():
            raise ValueError(f"texts must begin with the prompt {self.tree.prompt_ids.tolist()}")
        log_probs = np.empty((len(lengths), len(self.tree.stop_codes)))
        for length in np.unique(lengths):
            chosen = lengths == length
            rows = self.tree.find(input_ids[chosen, start:length])
            log_probs[chosen] = self.tables[length - start][rows]
        return log_probs

    @property
    def completion_log_probs(self) -> list[Table]:
        """The log-probs of whole texts up to and including each token, by depth, (S, V) each."""
        return along_paths(self.tree, self.tables)


def uniform_policy(tree: TextTree) -> TabularPolicy:
    """Returns the policy that draws every allowed token with equal probability."""
    return uniform_over(tree, [depth.allowed for depth in tree.depths])


def uniform_over(tree: TextTree, choices: list[Mask]) -> TabularPolicy:
    """Returns the policy that draws each of the chosen tokens (S, V) with equal probability."""
    counts = [chosen.sum(axis=1, keepdims=True) for chosen in choices]
    tables = [
        np.where(chosen, -np.log(count), -np.inf)
        for chosen, count in zip(choices, counts, strict=True)
    ]
    return TabularPolicy(tree, tables)


def tabulate(tree: TextTree, log_probs: LogProbs, chunk: int) -> TabularPolicy:
    """Asks a policy about every state once, `chunk` states at a time.

    What it says is renormalised in float64 over the tokens that are allowed.

    Raises:
        ValueError: If it does not return log-probs of shape (k, V), or gives none of the allowed
            tokens any probability.
    """
    if isinstance(log_probs, TabularPolicy) and log_probs.tree is tree:
        return log_probs
    tables = []
    for number, depth in enumerate(tree.depths):
        table = np.empty(depth.allowed.shape)
        for first in range(0, len(table), chunk):
            rows = slice(first, first + chunk)
            input_ids = tree.states(number, rows)
            lengths = np.full(len(input_ids), input_ids.shape[1], dtype=np.intp)
            table[rows] = _renormalised(log_probs(input_ids, lengths), depth.allowed[rows])
        tables.append(table)
    return TabularPolicy(tree, tables)


def _renormalised(log_probs: Any, allowed: Mask) -> Table:
    log_probs = np.asarray(log_probs, dtype=np.float64)
    if log_probs.shape != allowed.shape:
        raise ValueError(f"log_probs must return shape {allowed.shape}, got {log_probs.shape}")
    with np.errstate(over="ignore"):  # of raw logits, which are refused below
        sums = np.exp(log_probs).sum(axis=1)
    if not np.allclose(sums, 1.0, atol=_SUM_TOLERANCE):
        raise ValueError(
            "log_probs must return normalised log-probabilities (log_softmax of logits), got rows "
            f"whose probabilities sum to {sums}"
        )
    masked = np.where(allowed, log_probs, -np.inf)
    mass = log_sum_exp(masked)
    if not np.isfinite(mass).all():
        raise ValueError("log_probs must give some allowed token a probability, got 0 for all")
    return np.asarray(masked - mass[:, None])


def policy_of_weights(tree: TextTree, log_weights: Tables) -> TabularPolicy:
    """Returns the policy that writes each completion in proportion to its weight.

    Args:
        tree: The states.
        log_weights: Log-weights at the tokens that finish a text, (S, V) by depth; others are
            ignored.

    Returns:
        That policy; uniform in states below which no completion has weight.
    """
    starts = [
        np.where(depth.ends, table, np.where(depth.goes_on, 0.0, -np.inf))
        for depth, table in zip(tree.depths, log_weights, strict=True)
    ]
    masses, weights = backed_up(tree, starts, lambda _, table: log_sum_exp(table))
    spare = uniform_policy(tree).tables
    tables = []
    for mass, weight, uniform in zip(masses, weights, spare, strict=True):
        possible = np.isfinite(mass)[:, None]
        tables.append(np.where(possible, weight - np.where(possible, mass[:, None], 0), uniform))
    return TabularPolicy(tree, tables)
