"""The environments of applications, by name: `ApplicationEnv` and `ApplicationVectorEnv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from text_gym.applications.calculator.task import calculator
from text_gym.applications.conversation import conversation
from text_gym.applications.facts.task import facts
from text_gym.applications.small_talk import small_talk
from text_gym.applications.translation.task import translation
from text_gym.applications.verse.task import verse
from text_gym.named_env import NamedEnv, NamedVectorEnv, made
from text_gym.tasks.parameters import Arguments

APPLICATIONS: Mapping[str, Callable[..., Arguments]] = {
    "Calculator": calculator,
    "Conversation": conversation,
    "Facts": facts,
    "SmallTalk": small_talk,
    "Translation": translation,
    "Verse": verse,
}
"""What makes each `TextGen/<name>-v0`; its docstring is the application's page."""


def arguments_of(name: str, **parameters: Any) -> Arguments:
    """Returns the arguments of `TextGenEnv` that make an application.

    Args:
        name: A key of `APPLICATIONS`.
        **parameters: Of the application, and of `TextGenEnv` in place of the application's own.

    Raises:
        ValueError: If there is none of that name, or a parameter is out of range.
    """
    return made(APPLICATIONS, name, parameters)


class ApplicationEnv(NamedEnv):
    """Is a `TextGenEnv` for an application; `gym.make("TextGen/<name>-v0")` makes it.

    Args:
        name: A key of `APPLICATIONS`.
        render_mode: As in `TextGenEnv`.
        **parameters: Of the application, and of `TextGenEnv` in place of the application's own.

    Raises:
        ValueError: If there is no such application, or a parameter is out of range.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> env = gym.make("TextGen/Calculator-v0", prompts=[text_gym.Prompt("2 times 3", "6")])
        >>> _ = env.reset(seed=0)
        >>> spell = env.unwrapped.tokenizer
        >>> for token in [*spell.encode("2*3="), spell.eos_token_id]:
        ...     info = env.step(token)[-1]
        >>> info["turn"]
        2
    """

    makers = APPLICATIONS


class ApplicationVectorEnv(NamedVectorEnv):
    """Is the native vector environment of an `ApplicationEnv`; `gym.make_vec` makes it.

    Args:
        num_envs: Number of rows n.
        name: A key of `APPLICATIONS`.
        autoreset_mode: As in `TextGenVectorEnv`.
        copy: As in `TextGenVectorEnv`.
        render_mode: As in `TextGenVectorEnv`.
        **parameters: As in `ApplicationEnv`.

    Raises:
        ValueError: If there is no such application, or a parameter is out of range.
    """

    makers = APPLICATIONS
