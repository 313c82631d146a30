"""Copying, reversing and sorting: the prompt, written again in another order."""

from __future__ import annotations

import string
from collections.abc import Callable
from itertools import product

from text_gym.prompts import Prompt
from text_gym.tasks.parameters import Arguments, require
from text_gym.tasks.position_match import PositionMatch
from text_gym.tokenizers import CharTokenizer

MOST_PROMPTS = 100_000


def copying(length: int = 4, symbols: int = 4) -> Arguments:
    """Asks for the prompt again.

    ## Description

    `TextGen/Copying-v0`. The prompt is a string of letters; the right completion is the same string
    and EOS. Every letter written must be read from a place of the prompt, always equally far back.

    ## Action Space

    The first `symbols` letters and EOS, V = `symbols` + 1.

    ## Starting State

    Any string of `length` letters, repeats included, each with equal probability.

    ## Rewards

    The share of positions that are right, counted to the end of the longer text:
    `PositionMatch`. The optimal return is 1.

    ## Episode End

    EOS, or `length` + 1 tokens.

    ## Arguments

    Args:
        length: Letters of a prompt, at least 1.
        symbols: Size of the alphabet, from 1 to 26.

    Raises:
        ValueError: If one is not, or there are more than 100,000 prompts.
    """
    return _rewriting(length, symbols, lambda text: text)


def reversing(length: int = 4, symbols: int = 4) -> Arguments:
    """Asks for the prompt backwards.

    ## Description

    `TextGen/Reversing-v0`. As copying, but from the end: the place to read moves away by two with
    every letter written.

    ## Rewards

    As copying. The optimal return is 1.

    ## Arguments

    Args:
        length: Letters of a prompt, at least 1.
        symbols: Size of the alphabet, from 1 to 26.

    Raises:
        ValueError: If one is not, or there are more than 100,000 prompts.
    """
    return _rewriting(length, symbols, lambda text: text[::-1])


def sorting(length: int = 4, symbols: int = 4) -> Arguments:
    """Asks for the letters of the prompt in alphabetical order.

    ## Description

    `TextGen/Sorting-v0`. As copying, but sorted: every letter written depends on all of the prompt.

    ## Rewards

    As copying. The optimal return is 1.

    ## Arguments

    Args:
        length: Letters of a prompt, at least 1.
        symbols: Size of the alphabet, from 1 to 26.

    Raises:
        ValueError: If one is not, or there are more than 100,000 prompts.
    """
    return _rewriting(length, symbols, lambda text: "".join(sorted(text)))


def _rewriting(length: int, symbols: int, rewrite: Callable[[str], str]) -> Arguments:
    require("length", length, 1)
    require("symbols", symbols, 1, 26)
    if symbols**length > MOST_PROMPTS:
        raise ValueError(
            f"symbols**length must be at most {MOST_PROMPTS:,} prompts, got {symbols}**{length}"
        )
    alphabet = string.ascii_lowercase[:symbols]
    texts = map("".join, product(alphabet, repeat=length))
    return {
        "prompts": [Prompt(text, rewrite(text)) for text in texts],
        "tokenizer": CharTokenizer(alphabet),
        "reward_function": PositionMatch(),
        "max_new_tokens": length + 1,
    }
