"""The environments that a run names: prompts, vocabulary and feedback put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv

from agents.applications.film_reviews.classifier import film_review_classifier
from agents.applications.film_reviews.reward import PositiveReview
from agents.runs.presets import FineTuning
from text_gym import Prompt
from text_gym.rewards import RewardFunction, Sentiment, WordCount

_REWARDS: Mapping[str, Callable[[], RewardFunction]] = {
    "sentiment": Sentiment,
    "word_count": WordCount,
    "positive_review": lambda: PositiveReview(film_review_classifier()),
}


def make_reward(config: FineTuning) -> RewardFunction:
    """Returns the feedback that a run names."""
    return _REWARDS[config.reward]()


def make_envs(
    config: FineTuning,
    prompts: Sequence[Prompt],
    tokenizer: Any,
    stop_token_ids: Sequence[int],
    num_envs: int,
    reward_function: RewardFunction,
) -> VectorEnv[Any, Any, Any]:
    """Returns `num_envs` environments that draw each prompt once before any is drawn again.

    Their texts end at the tokenizer's EOS and at `stop_token_ids`, those of the model.
    """
    return gym.make_vec(
        "TextGen-v0",
        num_envs=num_envs,
        prompts=prompts,
        tokenizer=tokenizer,
        reward_function=reward_function,
        prompt_template=config.prompt_template,
        stop_token_ids=stop_token_ids,
        max_new_tokens=config.max_new_tokens,
        sampling="without_replacement",
        autoreset_mode=AutoresetMode.DISABLED,
    )
