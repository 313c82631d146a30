"""The environments that a run names: prompts, vocabulary and feedback put together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from agents.applications.registry import CONSTRAINTS, RESPONDERS
from agents.runs.named_environments import make_many, make_one, require_texts
from agents.runs.wrappers import kept_in_evaluation, wrapped
from text_gym import Episode, Prompt, TextGenVectorEnv
from text_gym.constraints import BannedWords, Constraint
from text_gym.lexicon import unwanted_words
from text_gym.prompt_sources import EpochPrompts, GroupedPrompts
from text_gym.rewards import RewardFunction
from text_gym.turns import Responder
from text_gym.wrappers.vector import Constrain, Feedback


class Writing(Protocol):
    """What says how texts are written."""

    @property
    def env_id(self) -> str | None:
        """The environment by its Gymnasium id; None: it is made of the rest."""

    @property
    def env_args(self) -> str:
        """Arguments of that environment, as JSON."""

    @property
    def wrappers(self) -> str | None:
        """Wrappers around it; None: there are none."""

    @property
    def prompt_template(self) -> str | None:
        """What the policy sees of a prompt; None: the environment of `env_id` says it."""

    @property
    def max_new_tokens(self) -> int | None:
        """Longest completion, end of text included; None: the environment of `env_id` says it."""

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
    reward_function: RewardFunction | None,
    *,
    responder: Responder | None = None,
    group_size: int = 1,
    training: bool = False,
) -> VectorEnv[Any, Any, Any]:
    """Returns `num_envs` environments that draw each prompt once before any is drawn again.

    Args:
        config: Of the run, or whatever else says so.
        prompts: What is replied to; of an environment that is named, none: its own are.
        tokenizer: The vocabulary; None: the environment has one.
        stop_token_ids: Of the model; texts end at them and at the tokenizer's EOS.
        num_envs: How many.
        reward_function: What replies are paid for; None: what the environment pays.
        responder: Who is meant by the one that `config` names; see `load_responder`.
        group_size: Episodes of each prompt in a row, which are reported as a group; 1: no groups.
        training: Whether policies learn there, and not only write; see `kept_in_evaluation`.

    Raises:
        ValueError: If what is said of turns does not go together, the responder is left out, no
            constraint, environment or wrapper has the name, or one does not take its arguments.
        ModuleNotFoundError: If unwanted words are banned and their lexicon is not installed.
    """
    if responder is None and config.responder is not None:
        raise ValueError(
            f"responder must be given where config names {config.responder!r}, got None"
        )
    vocabulary = {"tokenizer": tokenizer, "stop_token_ids": stop_token_ids}
    if config.env_id is None:
        vocabulary |= {"reward_function": reward_function, "responder": responder}
        envs = _text_envs(config, _source(prompts, group_size), num_envs, vocabulary)
    else:
        brought = {} if tokenizer is None else vocabulary
        envs = _named_envs(config, config.env_id, num_envs, brought)
        _draw_from(envs, prompts, group_size)
        envs = envs if reward_function is None else Feedback(envs, reward_function)
    constraints = _constraints(config)
    envs = Constrain(envs, constraints) if constraints else envs
    wrappers = config.wrappers if training else kept_in_evaluation(config.wrappers)
    if wrappers is not None:
        envs = wrapped(envs, wrappers)
        require_texts(envs, f"wrappers={wrappers!r}")
    return envs


def _text_envs(
    config: Writing, source: Any, num_envs: int, given: Mapping[str, Any]
) -> VectorEnv[Any, Any, Any]:
    """Returns environments that are made of the options of a run."""
    return gym.make_vec(
        "TextGen-v0",
        num_envs=num_envs,
        prompts=source,
        prompt_template=config.prompt_template,
        max_new_tokens=config.max_new_tokens,
        chat=config.chat,
        response_template=config.response_template,
        max_response_tokens=config.max_response_tokens,
        max_turn_tokens=config.max_turn_tokens,
        max_turns=config.max_turns,
        autoreset_mode=AutoresetMode.DISABLED,
        **given,
    )


def _named_envs(
    config: Writing, env_id: str, num_envs: int, vocabulary: Mapping[str, Any]
) -> VectorEnv[Any, Any, Any]:
    for name in ("prompt_template", "max_new_tokens"):
        if getattr(config, name) is not None:
            raise ValueError(
                f"{name} must be left out where {env_id} decides it, got {getattr(config, name)!r}"
            )
    return make_many(env_id, config.env_args, num_envs, **vocabulary)


def listed_prompts(
    config: Writing, tokenizer: Any, stop_token_ids: Sequence[int]
) -> Sequence[Prompt]:
    """Returns the prompts of an environment that is named; none where it does not list them."""
    envs: Any = make_envs(config, (), tokenizer, stop_token_ids, 1, None).unwrapped
    return envs.task.source.prompts or () if isinstance(envs, TextGenVectorEnv) else ()


def _source(prompts: Any, group_size: int) -> Any:
    """Returns a source of prompts, or of the prompts of another source, in groups if asked to."""
    source = EpochPrompts(prompts) if isinstance(prompts, Sequence) else prompts
    return GroupedPrompts(source, group_size) if group_size > 1 else source


def _draw_from(envs: VectorEnv[Any, Any, Any], prompts: Sequence[Prompt], group_size: int) -> None:
    """Has environments draw these prompts, or if there are none their own, in groups if asked to.

    Those of Gymnasium's own vector class keep their prompts, which each row draws for itself.

    Raises:
        ValueError: If they cannot.
    """
    texts: Any = envs.unwrapped
    if not prompts and group_size == 1:
        return
    if not isinstance(texts, TextGenVectorEnv):
        raise ValueError(
            f"env_id must have a TextGenVectorEnv as its vector_entry_point where prompts are "
            f"given or come in groups of {group_size}, got {type(texts).__name__}"
        )
    texts.task.draw_from(_source(prompts or texts.task.source, group_size))


def one_env(config: Writing) -> gym.Env[Any, Any]:
    """Returns one environment for whoever needs to know the vocabulary and how long texts are.

    Raises:
        ValueError: As `make_envs`.
    """
    if config.env_id is not None:
        return make_one(config.env_id, config.env_args)
    assert config.max_new_tokens is not None
    longest = config.max_new_tokens + (config.max_response_tokens or 0)
    return gym.make("TextGen-v0", max_new_tokens=longest)


def unjudged(episodes: Sequence[Episode]) -> NDArray[np.float64]:
    """Pays nothing for n texts, (n,): a reward for those that nobody learns from."""
    return np.zeros(len(episodes))


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
