"""Facts: a real pretrained model learns when to answer and when to say that it does not know."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agents.algorithms.configs.groups import RLOOConfig
from agents.algorithms.configs.ppo import PPOConfig
from agents.applications.application import Application
from agents.applications.fine_tuning import FineTuning
from agents.applications.origin import Origin
from agents.fetching.items import SMOLLM2, SMOLLM2_ON_THE_HUB
from agents.policy.config import PolicyConfig

if TYPE_CHECKING:
    from agents.applications.split import Split
    from text_gym.rewards import RewardFunction

TEMPLATE = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
"""The chat of SmolLM2 without its system message, which would be half of every text."""
COSTS = (0.25, 0.5, 1.0, 2.0)
"""Of a wrong answer, in the rewards that can be named."""


def _questions() -> Split:
    from agents.applications.split import Split
    from text_gym.applications.facts import as_prompts, facts_of

    return Split(as_prompts(facts_of("train")), as_prompts(facts_of("heldout")))


def _honesty(cost: float) -> RewardFunction:
    from text_gym.applications.facts import Honesty

    return Honesty(cost)


def _start() -> Path:
    from agents.applications.facts.start import facts_start

    return facts_start()


FACTS = Application(
    name="facts",
    description=(
        "SmolLM2-135M learns to answer questions where it knows, and to say so where it does not."
    ),
    preset=FineTuning(
        model="facts-start",
        prompts="facts",
        reward="honesty-0.5",
        prompt_template=TEMPLATE,
        max_new_tokens=16,
        total_episodes=320,
        num_envs=64,
        policy=PolicyConfig(autocast="auto", lora_rank=16, lora_alpha=32),
        # With a cost of 1, eight questions to an update and steps more than twice as long, a run
        # fell silent: it had answered a quarter of the questions, and ended with one in thirty.
        algorithm=RLOOConfig(
            learning_rate=2e-4, n_episodes=64, group_size=4, batch_size=16, kl_coef=0.1
        ),
    ),
    others=(
        PPOConfig(
            learning_rate=2e-4,
            n_episodes=64,
            n_epochs=1,
            batch_size=16,
            kl_coef=0.1,
            gae_lambda=1.0,
        ),
    ),
    prompts={"facts": _questions},
    rewards={f"honesty-{cost:g}": partial(_honesty, cost) for cost in COSTS},
    models={"facts-start": _start},
    origins={
        "facts-start": Origin(
            f"{SMOLLM2.notice}; then tuned on questions about countries and elements.",
            "apache-2.0",
            base_model=SMOLLM2_ON_THE_HUB,
        )
    },
    sources={
        "facts": "Questions that this project makes of the data of countryinfo 1.0.1 and "
        "periodictable 2.1.0."
    },
)
