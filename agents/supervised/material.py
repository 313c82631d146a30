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


class About(NamedTuple):
    """Holds what a model card says of a corpus, and of what learns from it.

    Attributes:
        title: Of the card.
        said: What the model is.
        context: One that it goes on with.
        form: What its texts look like.
        data: Whose the corpus is, under which licence, and which part of it was learnt.
        limits: What the model cannot do.
        language: That it writes, by its code; several, if it reads others.
        license: By the name that model hubs have for it; None: there is none to name.
        options: Of the command that trains it.
        before: Commands that come first.
    """

    title: str
    said: str
    context: str
    form: str
    data: str
    limits: str
    language: str | list[str] = "en"
    license: str | None = None
    options: str = ""
    before: tuple[str, ...] = ()


class Material(NamedTuple):
    """What a corpus becomes.

    Attributes:
        folder: Of the model, unless the command names another.
        tokenizer: Spells everything.
        stages: In order, at least one; each is asked for when the model of the one before is saved.
        template: Of a prompt, for samples.
        prompts: Of samples.
        about: What the card of a model says of it.
    """

    folder: Path
    tokenizer: PreTrainedTokenizerBase
    stages: Iterable[Stage]
    template: str
    prompts: Sequence[str]
    about: About
