"""What a model is pretrained on: a tokenizer, and what is to be read, stage by stage.

This module knows no corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from agents.supervised.config import PretrainConfig
from agents.supervised.sequences import TokenSequence


class Stage(NamedTuple):
    """One training, which goes on from the one before.

    Attributes:
        folder: Of the model after it, within the command's; empty: that itself.
        training: Its settings.
        train: What is learnt.
        validation: What decides when to stop.
        heldout: What is only measured.
    """

    folder: str
    training: PretrainConfig
    train: Sequence[TokenSequence]
    validation: Sequence[TokenSequence]
    heldout: Sequence[TokenSequence]


class Material(NamedTuple):
    """What a corpus becomes.

    Attributes:
        folder: Of the model, unless the command names another.
        tokenizer: Spells everything.
        stages: In order, at least one; each is asked for when the model of the one before is saved.
        template: Of a prompt, for samples.
        prompts: Of samples.
        card: Template of the README of a model folder; see `agents.supervised.model_card`.
    """

    folder: Path
    tokenizer: PreTrainedTokenizerBase
    stages: Iterable[Stage]
    template: str
    prompts: Sequence[str]
    card: str
