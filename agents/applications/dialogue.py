"""Dialogue: the small-talk model learns to reply to what people really said, in a friendly tone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.configs.trajectory_balance import TrajectoryBalanceConfig
from agents.applications.application import Application
from agents.applications.fine_tuning import FineTuning
from agents.applications.origin import Origin
from agents.policy.config import PolicyConfig

if TYPE_CHECKING:
    from agents.applications.split import Split
    from text_gym.rewards import RewardFunction

CHITCHAT = (
    "human conversations of chitchat-dataset 0.9.0 (MIT licence; Myers, Etchart and Fulda, "
    "Conversational Scaffolding, 2020)"
)
"""Whose the conversations are."""
SMALL_TALK_MODEL = Path(__file__).parents[1] / "models" / "small_talk"


def chitchat() -> Split:
    """Returns human turns of conversations, those of whole conversations held out.

    Raises:
        ModuleNotFoundError: If the package with the conversations is missing; names the extra.
    """
    from agents.applications.split import Split
    from text_gym import Prompt, small_talk

    def prompts(split: small_talk.Split) -> list[Prompt]:
        pairs = small_talk.chitchat_pairs(split)
        return [Prompt(text) for text in dict.fromkeys(pair.prompt for pair in pairs)]

    return Split(prompts("rl"), prompts("heldout"))


def own_prompts() -> Split:
    """Returns the package's own prompts, every fourth held out."""
    from agents.applications.split import Split
    from text_gym import Prompt, small_talk

    prompts = [Prompt(text) for text in small_talk.PROMPTS]
    heldout = prompts[::4]
    return Split([prompt for prompt in prompts if prompt not in heldout], heldout)


def _sentiment() -> RewardFunction:
    from text_gym.rewards import Sentiment

    return Sentiment()


def _unwanted() -> RewardFunction:
    from text_gym.rewards import Unwanted

    return Unwanted()


def _variety() -> RewardFunction:
    from text_gym.rewards import DistinctNgrams

    return DistinctNgrams(2)


DIALOGUE = Application(
    name="dialogue",
    description=(
        "The main job: make the small-talk model's replies friendly, without it losing its tongue."
    ),
    preset=FineTuning(
        model="small-talk",
        prompts="chitchat",
        reward="sentiment",
        total_episodes=16_384,
        eval_episodes=512,
        checkpoint_every=8,
        policy=PolicyConfig(autocast="auto"),
        algorithm=TrajectoryBalanceConfig(
            learning_rate=1e-4, micro_batch_size=16, kl_coef=0.05, replay_ratio=0
        ),
    ),
    others=(
        PPOConfig(
            learning_rate=1.5e-4,
            n_epochs=1,
            micro_batch_size=16,
            kl_coef=0.05,
            gae_lambda=1.0,
            normalize_advantage=False,
        ),
    ),
    prompts={"chitchat": chitchat, "small-talk": own_prompts},
    rewards={"sentiment": _sentiment, "unwanted": _unwanted, "variety": _variety},
    models={"small-talk": lambda: SMALL_TALK_MODEL},
    origins={
        "small-talk": Origin(
            f"A GPT-2 of 2.9 M parameters that this project trained on {CHITCHAT}.", "mit"
        )
    },
    sources={
        "chitchat": f"Turns of {CHITCHAT}.",
        "small-talk": "Written for this project (MIT licence).",
    },
)
