"""The environments of applications, by name: `ApplicationEnv` and `ApplicationVectorEnv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gymnasium.vector import AutoresetMode

from text_gym.applications.calculator.task import calculator
from text_gym.applications.conversation import conversation
from text_gym.applications.facts.task import facts
from text_gym.applications.small_talk import small_talk
from text_gym.applications.translation.task import translation
from text_gym.applications.verse.task import verse
from text_gym.env import TextGenEnv
from text_gym.tasks.parameters import Arguments
from text_gym.vector_env import TextGenVectorEnv

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
    if name not in APPLICATIONS:
        raise ValueError(f"name must be one of {sorted(APPLICATIONS)}, got {name!r}")
    return APPLICATIONS[name](**parameters)


class ApplicationEnv(TextGenEnv):
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

    def __init__(self, name: str, *, render_mode: str | None = None, **parameters: Any) -> None:
        super().__init__(**arguments_of(name, **parameters), render_mode=render_mode)


class ApplicationVectorEnv(TextGenVectorEnv):
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

    def __init__(
        self,
        num_envs: int = 1,
        *,
        name: str,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        render_mode: str | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(
            num_envs,
            **arguments_of(name, **parameters),
            autoreset_mode=autoreset_mode,
            copy=copy,
            render_mode=render_mode,
        )
