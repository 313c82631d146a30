"""Conversation: several turns with a partner, who falls silent if the policy does."""

from __future__ import annotations

import string
from typing import Any

from text_gym.applications.scripted_partner import ScriptedPartner
from text_gym.applications.small_talk import Split, turns_of
from text_gym.rewards import Sentiment
from text_gym.tasks.parameters import Arguments, require
from text_gym.tokenizers import CharTokenizer

CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " \n"
MOST_CHARACTERS = 60
"""Longest prompt and longest line of the scripted partner: half of all turns are shorter."""


def lines(split: Split) -> tuple[str, ...]:
    """Returns turns that somebody answered, those that are not too long.

    Raises:
        ValueError: If the split is unknown, or the data file is not the one it should be.
        ModuleNotFoundError: If the data is not installed; names the extra.
    """
    return tuple(turn for turn in turns_of(split) if len(turn) <= MOST_CHARACTERS)


def conversation(split: Split = "train", turns: int = 3, **of_the_environment: Any) -> Arguments:
    """Asks for a conversation: the policy and a partner take turns.

    ## Description

    `TextGen/Conversation-v0`. The prompt is one turn of a conversation between two people; the
    policy replies, its partner answers, and so on. A partner is any `Responder`. The one that the
    environment comes with needs no model: it says at random what people really said, and has no
    answer to a turn without a word, so that whoever has nothing to say has a short conversation.

    ## Action Space

    Characters of printable ASCII, a new line, and EOS, V = 97. Give `tokenizer` for another
    vocabulary; a list of words needs `prompts` and a `responder` that it can spell.

    ## Observation Space

    That of `TextGenEnv`: the whole conversation, with room for the longest prompt, `turns` turns of
    60 tokens and answers of as many between them. Prompt and answers end with a new line, turns of
    the policy with EOS.

    ## Starting State

    A turn of at most 60 characters that somebody answered, drawn uniformly: 3,053 for
    training, 1,630 held out.

    ## Rewards

    How positive the English of what the policy said in all its turns is, VADER's compound in
    [-1, 1], at the end. `text_gym.rewards.EachTurn` pays for every turn.

    ## Episode End

    After `turns` turns of the policy, or when the partner has no answer. EOS or 60 tokens end a
    turn.

    ## Arguments

    Args:
        split: `"train"` or `"heldout"`, of prompts and of the partner's lines.
        turns: Most turns of the policy, at least 1.
        **of_the_environment: Arguments of `TextGenEnv` in place of these.

    Raises:
        ValueError: If `split` or `turns` breaks its rule, or the data file is not the one it should
            be.
        ModuleNotFoundError: If the data or VADER is not installed; names the extra.

    ## Data

    That of `TextGen/SmallTalk-v0`: `chitchat-dataset` 0.9.0 (MIT), with the extra `dialogue`.

    ## Version History

    - v0: initial version.
    """
    require("turns", turns, 1)
    said = lines(split)
    own: Arguments = {
        "prompts": said,
        "tokenizer": CharTokenizer(CHARACTERS),
        "reward_function": Sentiment(),
        "max_new_tokens": turns * MOST_CHARACTERS,
        "max_turn_tokens": MOST_CHARACTERS,
        "max_turns": turns,
        "prompt_template": "{prompt}\n",
        "responder": ScriptedPartner(said),
        "response_template": "{response}\n",
        "max_response_tokens": max(turns - 1, 1) * (MOST_CHARACTERS + 1),
    }
    return own | of_the_environment
