"""Small talk: one reply to what somebody really said in a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from text_gym import small_talk as data
from text_gym.rewards import Sentiment
from text_gym.tasks.parameters import Arguments
from text_gym.tokenizers import CharTokenizer

Split: TypeAlias = Literal["train", "heldout"]

DATA_SPLITS: Mapping[Split, data.Split] = {"train": "rl", "heldout": "heldout"}
"""Of the conversations: those that the small-talk model of `agents` was not pretrained on."""


def turns_of(split: Split) -> tuple[str, ...]:
    """Returns the distinct turns that somebody answered; held out are none of those of training.

    Raises:
        ValueError: If the split is unknown, or the data file is not the one it should be.
        ModuleNotFoundError: If the data is not installed; names the extra.
    """
    if split not in DATA_SPLITS:
        raise ValueError(f"split must be one of {list(DATA_SPLITS)}, got {split!r}")
    known = () if split == "train" else data.chitchat_prompts(DATA_SPLITS["train"])
    left_out = frozenset(known)
    turns = data.chitchat_prompts(DATA_SPLITS[split])
    return tuple(turn for turn in turns if turn not in left_out)


def small_talk(split: Split = "train", **of_the_environment: Any) -> Arguments:
    """Asks for a friendly reply to what somebody really said.

    ## Description

    `TextGen/SmallTalk-v0`. The prompt is one turn of a conversation between two people who did not
    know each other, the completion the other's turn.

    ## Action Space

    Characters of printable ASCII, and EOS, V = 96. Give `tokenizer` for another vocabulary.

    ## Observation Space

    That of `TextGenEnv`, with room for the longest prompt and 120 new tokens.

    ## Starting State

    A turn that somebody answered, drawn uniformly: 4,739 for training, 2,613 held out.

    ## Rewards

    How positive the reply's English is, VADER's compound in [-1, 1].

    ## Episode End

    EOS, or 120 tokens: no turn in the data is longer.

    ## Arguments

    Args:
        split: `"train"` or `"heldout"`: turns of other conversations, and none that is in both.
        **of_the_environment: Arguments of `TextGenEnv` in place of these.

    Raises:
        ValueError: If the split is unknown, or the data file is not the one it should be.
        ModuleNotFoundError: If the data or VADER is not installed; names the extra.

    ## Data

    `chitchat-dataset` 0.9.0 (MIT; Myers, Etchart and Fulda 2020, "Conversational Scaffolding"),
    read where pip has put it; the extra `dialogue` installs it. Turns are cleaned by
    `text_gym.small_talk.clean_turn`.

    ## Version History

    - v0: initial version.
    """
    prompts = turns_of(split)
    own: Arguments = {
        "prompts": prompts,
        "tokenizer": CharTokenizer(),
        "reward_function": Sentiment(),
        "max_new_tokens": data.MAX_TURN_CHARACTERS,
    }
    return own | of_the_environment
