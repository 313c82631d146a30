"""Counting up: after 3, write 4567."""

from __future__ import annotations

import string

from text_gym.prompts import Prompt
from text_gym.tasks.parameters import Arguments, require
from text_gym.tasks.position_match import PositionMatch
from text_gym.tokenizers import CharTokenizer


def counting_up(length: int = 4) -> Arguments:
    """Asks for the digits that come after a given one.

    ## Description

    `TextGen/CountingUp-v0`. The prompt is a digit; the right completion is the next `length` digits
    and EOS. The smallest task in which what comes next depends on what was written last.

    ## Action Space

    The ten digits and EOS, V = 11.

    ## Starting State

    A digit after which `length` more exist, each with equal probability.

    ## Rewards

    The share of positions that are right, counted to the end of the longer text:
    `PositionMatch`. The optimal return is 1.

    ## Episode End

    EOS, or `length` + 1 tokens.

    ## Arguments

    Args:
        length: Digits to write, from 1 to 9.

    Raises:
        ValueError: If it is not.
    """
    require("length", length, 1, 9)
    digits = string.digits
    prompts = [
        Prompt(digits[start], digits[start + 1 : start + 1 + length])
        for start in range(len(digits) - length)
    ]
    return {
        "prompts": prompts,
        "tokenizer": CharTokenizer(digits),
        "reward_function": PositionMatch(),
        "max_new_tokens": length + 1,
    }
