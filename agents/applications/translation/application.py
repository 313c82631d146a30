"""Translation: a small model, trained on pairs, learns from what its translations score."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agents.algorithms.configs.groups import RLOOConfig
from agents.applications.application import Application
from agents.applications.fine_tuning import FineTuning
from agents.applications.origin import Origin
from agents.fetching.items import TRANSLATION as BIBLES
from agents.policy.config import PolicyConfig

if TYPE_CHECKING:
    from agents.applications.split import Split
    from text_gym.rewards import RewardFunction

NAME = "translation"
_RECIPE = 1
"""Part of the folder's name: to be raised with any change of how the model is pretrained."""


def model_folder() -> Path:
    """Returns the folder in the cache for the model that training begins with, there or not."""
    from text_gym.cache import cache_folder

    return cache_folder() / f"translation-model-{_RECIPE}"


def clauses() -> Split:
    """Returns Spanish clauses with their English: those of training, and of books held out.

    Raises:
        FileNotFoundError: If the clauses must be fetched first; names the command.
    """
    from agents.applications.split import Split
    from text_gym import Prompt
    from text_gym.applications.translation.pairs import translation_pairs

    return Split(
        *(
            [Prompt(pair.spanish, pair.english) for pair in translation_pairs(split)]
            for split in ("train", "heldout")
        )
    )


def _model() -> Path:
    folder = model_folder()
    if not (folder / "README.md").is_file():  # what is written last
        raise FileNotFoundError(
            f"the model that translates is not in the cache ({folder}): make it once with "
            "`python -m agents.pretrain --corpus translation`, some minutes"
        )
    return folder


def _chrf(beta: float) -> RewardFunction:
    from text_gym.rewards import ChrF

    return ChrF(beta=beta)


TRANSLATION = Application(
    name=NAME,
    description=(
        "A small model that translates clauses from Spanish learns from the chrF of what it writes."
    ),
    preset=FineTuning(
        model=NAME,
        prompts=NAME,
        # Not `chrf`, which pays for longer translations: there recall counts twice.
        reward="chrf1",
        max_new_tokens=24,
        total_episodes=8_192,
        eval_episodes=512,
        # At temperature 1 most of a draw is noise, and little of what it is paid can be told apart.
        policy=PolicyConfig(autocast="auto", temperature=0.5),
        algorithm=RLOOConfig(learning_rate=1e-4, batch_size=128, kl_coef=0.01),
    ),
    prompts={NAME: clauses},
    rewards={"chrf": partial(_chrf, 2.0), "chrf1": partial(_chrf, 1.0)},
    models={NAME: _model},
    origins={
        NAME: Origin(
            f"A small GPT-2 that this project trained on clauses: {BIBLES.notice}.",
            language=["es", "en"],
        )
    },
    sources={NAME: f"Clauses: {BIBLES.notice}."},
)
