"""Sums in words, made by rule: what is asked, what it comes to, and which are held out.

A sum is held out by its numbers, whatever their order and whatever is done with them, so that no
held-out sum was ever seen in other words. This module knows no environment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np

from text_gym.applications.calculator.arithmetic import calculate
from text_gym.prompts import Prompt
from text_gym.tasks.parameters import require

Split: TypeAlias = Literal["train", "heldout"]

FORMS: Sequence[tuple[str, str]] = (
    ("{0} plus {1}", "{0}+{1}"),
    ("{0} minus {1}", "{0}-{1}"),
    ("{0} times {1}", "{0}*{1}"),
    ("take {0} from {1}", "{1}-{0}"),
    ("{0} times {1} plus {2}", "{0}*{1}+{2}"),
    ("{0} times {1} minus {2}", "{0}*{1}-{2}"),
    ("{0} plus {1}, all times {2}", "({0}+{1})*{2}"),
    ("take {0} from {1} times {2}", "{1}*{2}-{0}"),
)
"""A sum in words, and as a calculator reads it; those of two numbers first."""
_OF_TWO = 4
_SMALLEST = 10
_SEED = 0
_HELDOUT_OF = 10
"""One sum in so many is held out."""


def questions(
    split: Split, *, largest: int = 99, operands: int = 2, most: int = 4096
) -> list[Prompt]:
    """Returns different sums in words, always the same ones.

    Args:
        split: `"train"` or `"heldout"`.
        largest: Number that occurs, from 19 to 999; the least is 10.
        operands: Most numbers of a sum, 2 or 3.
        most: Sums to draw; which are drawn twice count once.

    Returns:
        Prompts with the result as `reference`, and what is to be calculated as
        `metadata["expression"]`.

    Raises:
        ValueError: If there is no such split, or a number is out of range.

    Example:
        >>> first = questions("heldout", most=1)[0]
        >>> first.text, first.metadata["expression"], first.reference
        ('take 98 from 44', '44-98', '-54')
    """
    if split not in get_args(Split):
        raise ValueError(f"split must be one of {get_args(Split)}, got {split!r}")
    require("largest", largest, _SMALLEST + 9, 999)
    require("operands", operands, 2, 3)
    require("most", most, 1)
    np_random = np.random.default_rng(_SEED)
    found: list[Prompt] = []
    while len(found) < most:
        form = int(np_random.integers(_OF_TWO if operands == 2 else len(FORMS)))
        size = 2 if form < _OF_TWO else 3
        numbers = np_random.integers(_SMALLEST, largest, size=size, endpoint=True).tolist()
        if is_heldout(numbers) == (split == "heldout"):
            found.append(_question(form, numbers))
    return list({one.text: one for one in found}.values())


def is_heldout(numbers: Sequence[int]) -> bool:
    """Tells whether sums of these numbers, in any order, are held out from training."""
    spelt = ",".join(map(str, sorted(numbers)))
    digest = hashlib.sha256(spelt.encode()).digest()
    return int.from_bytes(digest[:8], "big") % _HELDOUT_OF == 0


def _question(form: int, numbers: Sequence[int]) -> Prompt:
    words, symbols = (text.format(*numbers) for text in FORMS[form])
    return Prompt(words, calculate(symbols), {"expression": symbols})
