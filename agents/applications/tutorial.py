"""The tutorial's task: more words in reply to one question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.algorithms.configs.ppo import PPOConfig
from agents.applications.application import Application
from agents.applications.fine_tuning import FineTuning

if TYPE_CHECKING:
    from text_gym.rewards import RewardFunction


def _word_count() -> RewardFunction:
    from text_gym.rewards import WordCount

    return WordCount()


TUTORIAL = Application(
    name="tutorial",
    description="The smallest example: more words in reply to 'How are you?'.",
    preset=FineTuning(
        model="small-talk",
        prompts="How are you?",
        reward="word_count",
        max_new_tokens=20,
        total_episodes=1000,
        num_envs=50,
        # One point per word: λ = 1, because the value head starts at 0 and needs longer than 1,000
        # episodes to learn values of this size.
        algorithm=PPOConfig(
            learning_rate=5e-5, n_episodes=100, batch_size=50, kl_coef=1.0, gae_lambda=1.0
        ),
    ),
    rewards={"word_count": _word_count},
)
