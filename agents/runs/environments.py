"""The environments that a run names: prompts, vocabulary and feedback put together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode, VectorEnv

from agents.applications.registry import CONSTRAINTS, RESPONDERS
from text_gym import Prompt
from text_gym.constraints import BannedWords, Constraint
from text_gym.lexicon import unwanted_words
from text_gym.prompt_sources import EpochPrompts, GroupedPrompts
from text_gym.rewards import RewardFunction
from text_gym.turns import Responder
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
    def chat(self) -> bool:
        """Whether prompts and answers go through the tokenizer's chat template."""

    @property
    def responder(self) -> str | None:
        """Who continues the text when the policy ends a turn; None: nobody."""

    @property
    def response_template(self) -> str:
        """What the policy sees of what the responder says."""

    @property
    def max_response_tokens(self) -> int | None:
        """Room for all that the responder says."""

    @property
    def max_turn_tokens(self) -> int | None:
        """Most tokens of one turn of the policy."""

    @property
    def max_turns(self) -> int | None:
        """Most turns of the policy."""

    @property
    def constraint(self) -> str | None:
        """What masks keep texts to; None: nothing."""

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
    responder: Responder | None = None,
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
        responder: Who is meant by the one that `config` names; see `load_responder`.
        group_size: Episodes of each prompt in a row, which are reported as a group; 1: no groups.

    Raises:
        ValueError: If what is said of turns does not go together, the responder is left out, or no
            constraint has the name.
        ModuleNotFoundError: If unwanted words are banned and their lexicon is not installed.
    """
    if responder is None and config.responder is not None:
        raise ValueError(
            f"responder must be given where config names {config.responder!r}, got None"
        )
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
        chat=config.chat,
        responder=responder,
        response_template=config.response_template,
        max_response_tokens=config.max_response_tokens,
        max_turn_tokens=config.max_turn_tokens,
        max_turns=config.max_turns,
        autoreset_mode=AutoresetMode.DISABLED,
    )
    constraints = _constraints(config)
    return Constrain(envs, constraints) if constraints else envs


def load_responder(name: str | None, device: torch.device | str) -> Responder | None:
    """Returns the responder of a name; None if there is none.

    Args:
        name: Of an application's responder.
        device: Where one that is a model computes.

    Raises:
        ValueError: If there is no such responder.
    """
    if name is None:
        return None
    _require("responder", name, RESPONDERS)
    return RESPONDERS[name](torch.device(device))


def _constraints(config: Writing) -> list[Constraint]:
    found: list[Constraint] = [BannedWords(unwanted_words())] if config.ban_unwanted else []
    if config.constraint is not None:
        _require("constraint", config.constraint, CONSTRAINTS)
        found += CONSTRAINTS[config.constraint]()
    return found


def _require(option: str, name: str, names: Collection[str]) -> None:
    if name not in names:
        raise ValueError(f"{option} must be None or one of {sorted(names)}, got {name!r}")
