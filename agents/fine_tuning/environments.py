"""The environments that a run names: prompts, vocabulary and feedback put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv

from agents.fine_tuning.presets import FineTuning
from text_gym import Prompt
from text_gym.rewards import RewardFunction, Sentiment, WordCount


def make_envs(
    config: FineTuning, prompts: Sequence[Prompt], tokenizer: Any, num_envs: int
) -> VectorEnv[Any, Any, Any]:
    """Returns `num_envs` environments that draw each prompt once before any is drawn again."""
    rewards: dict[str, type[RewardFunction]] = {"sentiment": Sentiment, "word_count": WordCount}
    return gym.make_vec(
        "TextGen-v0",
        num_envs=num_envs,
        prompts=prompts,
        tokenizer=tokenizer,
        reward_function=rewards[config.reward](),
        prompt_template=config.prompt_template,
        max_new_tokens=config.max_new_tokens,
        sampling="without_replacement",
        autoreset_mode=AutoresetMode.DISABLED,
    )
