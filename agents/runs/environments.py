"""The environments that a run names: prompts, vocabulary and feedback put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv

from text_gym import Prompt
from text_gym.constraints import BannedWords
from text_gym.lexicon import unwanted_words
from text_gym.prompt_sources import EpochPrompts, GroupedPrompts
from text_gym.rewards import RewardFunction
from text_gym.wrappers.vector import Constrain


class Writing(Protocol):
    """What says how texts are written."""

    @property
    def prompt_template(self) -> str:
        """What the policy sees of a prompt."""

    @property
    def max_new_tokens(self) -> int:
        """Longest completion, end of text included."""

    @property
    def ban_unwanted(self) -> bool:
        """Whether masks keep the words of `text_gym.lexicon` from being written."""


def make_envs(
    config: Writing,
    prompts: Sequence[Prompt],
    tokenizer: Any,
    stop_token_ids: Sequence[int],
    num_envs: int,
    reward_function: RewardFunction,
    *,
    group_size: int = 1,
) -> VectorEnv[Any, Any, Any]:
    """Returns `num_envs` environments that draw each prompt once before any is drawn again.

    Args:
        config: Of the run, or whatever else says so.
        prompts: What is replied to.
        tokenizer: The vocabulary.
        stop_token_ids: Of the model; texts end at them and at the tokenizer's EOS.
        num_envs: How many.
        reward_function: What replies are paid for.
        group_size: Episodes of each prompt in a row, which are reported as a group; 1: no groups.

    Raises:
        ModuleNotFoundError: If unwanted words are banned and their lexicon is not installed.
    """
    source: Any = EpochPrompts(prompts)
    if group_size > 1:
        source = GroupedPrompts(source, group_size)
    envs = gym.make_vec(
        "TextGen-v0",
        num_envs=num_envs,
        prompts=source,
        tokenizer=tokenizer,
        reward_function=reward_function,
        prompt_template=config.prompt_template,
        stop_token_ids=stop_token_ids,
        max_new_tokens=config.max_new_tokens,
        autoreset_mode=AutoresetMode.DISABLED,
    )
    return Constrain(envs, BannedWords(unwanted_words())) if config.ban_unwanted else envs
