"""Sums along the paths of a tree of texts, downwards and upwards.

Pure functions of tables (S, V), one per depth. They do not know what the numbers mean: rewards,
log-probs and divergences all go the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from text_gym.exact.tree import TextTree

Values: TypeAlias = NDArray[np.float64]
"""One number per state of a depth, (S,)."""
Table: TypeAlias = NDArray[np.float64]
"""One number per state and token of a depth, (S, V)."""
Tables: TypeAlias = Sequence[Table]
"""One table per depth."""


def along_paths(tree: TextTree, tables: Tables) -> list[Table]:
    """Adds up the numbers from the start to each token, that token included."""
    totals: list[Table] = []
    before = np.zeros(1)
    for depth, table in zip(tree.depths, tables, strict=True):
        totals.append(before[:, None] + table)
        before = totals[-1][depth.goes_on]
    return totals


def backed_up(
    tree: TextTree, tables: Tables, combine: Callable[[int, Table], Values]
) -> tuple[list[Values], list[Table]]:
    """Goes backwards from the ends: Q(s, a) = r(s, a) + V(s'), V(s) = combine(Q(s, ·)).

    Args:
        tree: The states.
        tables: r, what each token is worth by itself.
        combine: Takes a depth and its Q (S, V) and returns V (S,).

    Returns:
        V and Q of every depth.
    """
    values: list[Values] = []
    action_values: list[Table] = []
    below = np.zeros(0)
    for number in reversed(range(len(tree.depths))):
        table = tables[number].copy()
        table[tree.depths[number].goes_on] += below
        below = combine(number, table)
        values.append(below)
        action_values.append(table)
    return values[::-1], action_values[::-1]


def expectation(probabilities: Table, table: Table) -> Values:
    """Returns Σ p·x of each row, (S,), where 0 times infinity is 0."""
    possible = probabilities > 0
    products = np.multiply(probabilities, table, where=possible, out=np.zeros_like(probabilities))
    return np.asarray(products.sum(axis=-1))


def log_sum_exp(table: Table) -> Values:
    """Returns log Σ exp(x) of each row, (S,); −∞ for a row of −∞."""
    largest = table.max(axis=-1, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):  # log 0 = −∞ is meant
        sums = np.log(np.exp(table - shift).sum(axis=-1))
    return np.asarray(sums + shift[..., 0])


def log_mean_exp(log_probs: Table, table: Table) -> Values:
    """Returns log Σ p·exp(x) of each row, (S,), for x ≤ 0 with p summing to 1.

    As log(1 + Σ p·(exp(x) − 1)) where that sum is near 0: the logarithm of a sum near 1 would lose
    the digits that count.
    """
    shift = (np.exp(log_probs) * np.expm1(table)).sum(axis=-1)
    near_one = shift > -0.5
    return np.where(
        near_one, np.log1p(np.where(near_one, shift, 0.0)), log_sum_exp(log_probs + table)
    )
