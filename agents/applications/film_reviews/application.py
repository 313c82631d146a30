"""Film reviews: a real pretrained model learns to go on with them positively."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agents.algorithms.configs.ppo import PPOConfig
from agents.applications.application import Application
from agents.applications.fine_tuning import FineTuning
from agents.applications.origin import Origin
from agents.fetching.film_reviews import REVIEWS_FILE
from agents.fetching.items import FILM_REVIEWS, SMOLLM2, SMOLLM2_ON_THE_HUB, require
from agents.policy.config import PolicyConfig

if TYPE_CHECKING:
    from agents.applications.split import Split
    from text_gym.rewards import RewardFunction


def first_words() -> Split:
    """Returns the first words of reviews, those of half of the reviews held out.

    Raises:
        FileNotFoundError: If the reviews must be fetched first; names the command.
    """
    from agents.applications.film_reviews.reviews import openings, read_reviews
    from agents.applications.split import Split
    from text_gym import Prompt

    reviews = read_reviews(require(FILM_REVIEWS) / REVIEWS_FILE)
    return Split(*(list(map(Prompt, openings(reviews, half))) for half in ("train", "heldout")))


def _positive_review() -> RewardFunction:
    from agents.applications.film_reviews.classifier import film_review_classifier
    from agents.applications.film_reviews.reward import PositiveReview

    return PositiveReview(film_review_classifier())


def _smollm2() -> Path:
    return require(SMOLLM2)


REVIEWS = Application(
    name="reviews",
    description=(
        "A real pretrained model, SmolLM2-135M, learns to go on with film reviews positively."
    ),
    preset=FineTuning(
        model=SMOLLM2.name,
        prompts=FILM_REVIEWS.name,
        reward="positive_review",
        prompt_template="{prompt}",
        max_new_tokens=24,
        total_episodes=1024,
        num_envs=64,
        # Products in bfloat16 take half the time on CPUs that know it. The weights stay in float32,
        # so that the adapters can be merged into them without loss.
        policy=PolicyConfig(autocast="bfloat16", lora_rank=16, lora_alpha=32),
        # A completion's log-odds have a standard deviation of about 1.2. λ = 1, because the value
        # head starts at 0 and would need more episodes than there are.
        algorithm=PPOConfig(
            learning_rate=1e-3,
            n_episodes=64,
            n_epochs=1,
            batch_size=16,
            kl_coef=0.2,
            gae_lambda=1.0,
        ),
    ),
    prompts={FILM_REVIEWS.name: first_words},
    rewards={"positive_review": _positive_review},
    models={SMOLLM2.name: _smollm2},
    origins={
        SMOLLM2.name: Origin(f"{SMOLLM2.notice}.", "apache-2.0", base_model=SMOLLM2_ON_THE_HUB)
    },
    sources={FILM_REVIEWS.name: f"{FILM_REVIEWS.notice}."},
)
