"""Verse: a small model that has read plays learns to keep the form of a haiku, or of a couplet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from agents.algorithms.configs.trajectory_balance import TrajectoryBalanceConfig
from agents.applications.application import Application
from agents.applications.fine_tuning import FineTuning
from agents.applications.origin import Origin
from agents.applications.verse.model import LINES, OWN, POEMS, require
from agents.fetching.items import SHAKESPEARE

if TYPE_CHECKING:
    from agents.applications.split import Split
    from text_gym.constraints import Constraint
    from text_gym.rewards import RewardFunction


def verse_subjects() -> Split:
    """Returns what poems are to be about; a quarter is held out."""
    from agents.applications.split import Split
    from text_gym import Prompt
    from text_gym.applications.verse.subjects import subjects

    train, heldout = ([Prompt(one) for one in subjects(split)] for split in ("train", "heldout"))
    return Split(train, heldout)


def _keeps(form: str) -> RewardFunction:
    from text_gym.applications.verse.form import FORMS
    from text_gym.applications.verse.reward import KeepsForm

    return KeepsForm(FORMS[form])


def _keep(form: str) -> Sequence[Constraint]:
    from text_gym.applications.verse.constraint import KeepForm
    from text_gym.applications.verse.form import FORMS

    return [KeepForm(FORMS[form])]


_FORMS = ("haiku", "couplet")

VERSE = Application(
    name="verse",
    description="A small model that has read Shakespeare learns to keep the form of a haiku.",
    preset=FineTuning(
        model="verse",
        prompts="verse-subjects",
        reward="haiku",
        prompt_template="haiku {prompt} :",
        max_new_tokens=20,
        total_episodes=65_536,
        eval_episodes=512,
        # Between a poem that keeps the form and one that just fails to lie 0.2 of reward, which
        # at this price are 7 nats.
        algorithm=TrajectoryBalanceConfig(
            learning_rate=2e-4, micro_batch_size=64, kl_coef=0.03, replay_ratio=0
        ),
    ),
    prompts={"verse-subjects": verse_subjects},
    rewards={form: partial(_keeps, form) for form in _FORMS},
    constraints={form: partial(_keep, form) for form in _FORMS},
    models={
        "verse": partial(require, OWN),
        "verse-poems": partial(require, POEMS),
        "verse-lines": partial(require, LINES),
    },
    origins=dict.fromkeys(
        ("verse", "verse-poems", "verse-lines"),
        Origin(f"A small GPT-2 that this project trained on {SHAKESPEARE.notice}."),
    ),
    sources={"verse-subjects": "Nouns that this project chose."},
)
