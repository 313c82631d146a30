"""`TextGen/Translation-v0`: its arguments."""

from __future__ import annotations

import string
from typing import Any

from text_gym.applications.translation.pairs import Split, translation_pairs
from text_gym.prompts import Prompt
from text_gym.rewards import ChrF
from text_gym.tasks.parameters import Arguments
from text_gym.tokenizers import CharTokenizer

ALPHABET = string.ascii_letters + "ÁÆÉÍÎÑÓÚáâæéêíîñóôúûü" + " '’!¡?¿(),-.:;[]\\\n"
MAX_NEW_TOKENS = 64


def translation(*, split: Split = "train", **of_the_environment: Any) -> Arguments:
    """Asks for the English of a Spanish clause.

    ## Description

    `TextGen/Translation-v0`. The prompt is a clause of three to seven words from a Spanish Bible of
    1909, such as `Y dijo Dios:`; its reference is the same clause in the English of 1611. The
    completion is read as the translation.

    ## Action Space

    91 characters and EOS, which ends the translation. Any other vocabulary can be given as
    `tokenizer`.

    ## Observation Space

    As in `TextGenEnv`; the prompt is followed by a new line.

    ## Starting State

    Any clause of the split, each with equal probability.

    ## Rewards

    chrF against the reference, in [0, 1]: `text_gym.rewards.ChrF`. Length and phrases that fit
    often raise it without translating; `text_gym.applications.translation.measures` has how long
    translations are, and how much of them is copied.

    ## Episode End

    EOS, or `max_new_tokens` tokens, 64.

    ## Arguments

    Args:
        split: `"train"`, `"validation"` or `"heldout"`; splits are whole books.
        **of_the_environment: Of `TextGenEnv`, in place of the above.

    Raises:
        ValueError: If the split is unknown, or the data is not what was fetched.
        FileNotFoundError: If the data was not fetched; names the command.

    ## Data

    `python -m agents.fetch translation` makes it of two packages of Debian, 6 MB: the Reina-Valera
    of 1909 and the King James Version of 1769, both in the public domain (in the United Kingdom,
    printing the latter is a royal privilege), with the numbers of the original's words by
    eBible.org and CrossWire. Those numbers tell which clauses belong together.

    ## Version History

    - v0: initial version.
    """
    if "prompts" not in of_the_environment:
        pairs = translation_pairs(split)
        of_the_environment["prompts"] = [Prompt(pair.spanish, pair.english) for pair in pairs]
    return {
        "tokenizer": CharTokenizer(ALPHABET),
        "prompt_template": "{prompt}\n",
        "reward_function": ChrF(),
        "max_new_tokens": MAX_NEW_TOKENS,
        **of_the_environment,
    }
