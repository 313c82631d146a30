"""Every text that can be written to one prompt, as a tree in arrays.

A node is a state: a prompt and the tokens written so far. All states with equally many tokens make
one `Depth`; what concerns a token in a state stands in a table (S, V), row s, column a. The tree
knows neither rewards nor policies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import TokenIds
from text_gym.task import GOES_ON, LENGTH

Mask: TypeAlias = NDArray[np.bool_]
Masks: TypeAlias = Callable[[TokenIds], Mask]
"""The tokens allowed in S states (S, d), given by the tokens written so far: bool (S, V)."""

MOST_CELLS_PER_COMPLETION = 10
"""Tables are dense: where masks leave few of many tokens, they would be much larger than the tree.
"""


@dataclass(frozen=True, eq=False)
class Depth:
    """Holds the S states in which d tokens have been written.

    Attributes:
        tokens: What has been written, (S, d).
        allowed: The tokens that may be written next, (S, V).
        goes_on: Those after which the text is not finished, (S, V). In row-major order, they lead
            to the states of the next depth.
    """

    tokens: TokenIds
    allowed: Mask
    goes_on: Mask

    @property
    def ends(self) -> Mask:
        """The tokens that finish the text, (S, V)."""
        return self.allowed & ~self.goes_on

    @cached_property
    def edges(self) -> NDArray[np.intp]:
        """Where `goes_on` is True, as ascending flat positions, one per state of the next depth."""
        return np.flatnonzero(self.goes_on)


class Completions(NamedTuple):
    """Holds n completions of equal length that end in states of one depth.

    Attributes:
        depth: Tokens written before the last one.
        rows: The states in which they ended, as rows of that depth, (n,).
        token_ids: The completions, (n, depth + 1).
        codes: How they ended, `EOS`, `STOP` or `LENGTH` of `text_gym.task`, (n,).
    """

    depth: int
    rows: NDArray[np.intp]
    token_ids: TokenIds
    codes: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class TextTree:
    """Holds the states of one prompt, by depth.

    Attributes:
        prompt_ids: (P,).
        stop_codes: What each token means for the end of the text, (V,).
        depths: The states after 0, 1, 2, ... tokens.
        n_completions: Number of finished texts.
    """

    prompt_ids: TokenIds
    stop_codes: NDArray[np.int8]
    depths: tuple[Depth, ...]
    n_completions: int

    def states(self, depth: int, rows: slice) -> TokenIds:
        """Returns prompt and tokens of some states of one depth, (k, P + depth)."""
        tokens = self.depths[depth].tokens[rows]
        prompts = np.broadcast_to(self.prompt_ids, (len(tokens), len(self.prompt_ids)))
        return np.concatenate([prompts, tokens], axis=1)

    def find(self, tokens: TokenIds) -> NDArray[np.intp]:
        """Returns the rows of k states that have d tokens each.

        Args:
            tokens: What has been written, (k, d).

        Raises:
            ValueError: If one of them is not a state: too long, finished, or not allowed.
        """
        rows = np.zeros(len(tokens), dtype=np.intp)
        if tokens.shape[1] >= len(self.depths):
            raise ValueError(
                f"a state has at most {len(self.depths) - 1} tokens written, got {tokens.shape[1]}"
            )
        for depth, column in zip(self.depths, tokens.T, strict=False):
            wanted = rows * len(self.stop_codes) + column
            rows = np.searchsorted(depth.edges, wanted)
            found = np.append(depth.edges, -1)[rows] == wanted
            if not found.all():
                raise ValueError(
                    f"no text goes on from tokens {tokens[int(np.argmin(found))].tolist()}: one of "
                    "them ends the text or is not allowed"
                )
        return rows

    def completions(self, chunk: int) -> Iterator[Completions]:
        """Yields all completions, by depth, at most `chunk` (or V, if that is more) at once."""
        rows_at_once = max(1, chunk // len(self.stop_codes))
        for number, depth in enumerate(self.depths):
            for first in range(0, len(depth.tokens), rows_at_once):
                part = slice(first, first + rows_at_once)
                rows, last = np.nonzero(depth.allowed[part] & ~depth.goes_on[part])
                if len(rows) == 0:
                    continue
                rows += first
                codes = np.where(self.stop_codes[last] == GOES_ON, LENGTH, self.stop_codes[last])
                token_ids = np.column_stack([depth.tokens[rows], last])
                yield Completions(number, rows, token_ids, codes.astype(np.int8))


def count_completions(stop_codes: NDArray[np.int8], allowed: Mask, max_new_tokens: int) -> int:
    """Counts the completions where the same tokens are allowed in every state.

    With G tokens that go on and E that end, that is E·(1 + G + ... + G^(T-1)) + G^T.

    Example:
        >>> count_completions(np.array([0, 0, 1]), np.ones(3, dtype=np.bool_), 3)
        15
    """
    going_on = int(np.count_nonzero(allowed & (stop_codes == GOES_ON)))
    ending = int(np.count_nonzero(allowed)) - going_on
    if going_on == 1:
        return ending * max_new_tokens + 1
    power: int = going_on**max_new_tokens
    return ending * ((power - 1) // (going_on - 1)) + power


def grow(
    prompt_ids: TokenIds,
    stop_codes: NDArray[np.int8],
    max_new_tokens: int,
    masks: Mask | Masks,
    max_completions: int,
) -> TextTree:
    """Enumerates the states of a prompt, breadth first.

    Args:
        prompt_ids: (P,).
        stop_codes: What each token means for the end of the text, (V,).
        max_new_tokens: T.
        masks: The tokens allowed everywhere, (V,), or a function that gives them for each state.
        max_completions: Most completions.

    Raises:
        ValueError: If there are more completions. Where the same tokens are allowed everywhere,
            they are counted beforehand; else it is raised at the depth at which they become too
            many, or the tables too large.
    """
    if not callable(masks):
        count = count_completions(stop_codes, masks, max_new_tokens)
        if count > max_completions:
            raise ValueError(_too_many(count, max_completions, len(stop_codes), max_new_tokens))
    depths: list[Depth] = []
    finished = 0
    tokens = np.zeros((1, 0), dtype=np.int64)
    while len(tokens):
        shape = (len(tokens), len(stop_codes))
        allowed = masks(tokens) if callable(masks) else np.broadcast_to(masks, shape)
        goes_on = allowed & ((stop_codes == GOES_ON) & (len(depths) + 1 < max_new_tokens))
        begun = int(np.count_nonzero(goes_on))
        finished += int(np.count_nonzero(allowed)) - begun
        if finished + begun > max_completions:
            steps = len(depths) + 1
            raise ValueError(_too_many(finished + begun, max_completions, shape[1], steps))
        if begun * shape[1] > MOST_CELLS_PER_COMPLETION * max_completions:
            raise ValueError(
                f"max_completions must be at least 1/{MOST_CELLS_PER_COMPLETION} of the cells of a "
                f"table, got {max_completions:,} for {begun:,} states times {shape[1]:,} tokens"
            )
        depths.append(Depth(tokens, allowed, goes_on))
        rows, last = np.nonzero(goes_on)
        tokens = np.column_stack([tokens[rows], last])
    return TextTree(prompt_ids, stop_codes, tuple(depths), finished)


def _too_many(count: int, limit: int, vocab_size: int, steps: int) -> str:
    number = f"{count:,}" if count < 10**15 else f"about 10^{math.log10(count):.0f}"
    return (
        f"max_completions must be at least the number of texts to enumerate, got {limit:,} for "
        f"{number} texts of at most {steps} of {vocab_size} tokens; take a smaller vocabulary or "
        "fewer tokens"
    )
