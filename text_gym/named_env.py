"""Environments that a name stands for: `NamedEnv` and `NamedVectorEnv`.

A family of tasks is a mapping from names to what makes the arguments of `TextGenEnv`; its two
environments say which. This module knows no task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from gymnasium.vector import AutoresetMode

from text_gym.env import TextGenEnv
from text_gym.vector_env import TextGenVectorEnv

Makers = Mapping[str, Callable[..., dict[str, Any]]]
"""What makes the arguments of `TextGenEnv`, by name."""


def made(makers: Makers, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `TextGenEnv` that a name stands for.

    Raises:
        ValueError: If there is none of that name, or a parameter is out of range.
    """
    if name not in makers:
        raise ValueError(f"name must be one of {sorted(makers)}, got {name!r}")
    return makers[name](**parameters)


class NamedEnv(TextGenEnv):
    """Is a `TextGenEnv` that a name of `makers` stands for; a family of tasks derives from it.

    Args:
        name: A key of `makers`.
        render_mode: As in `TextGenEnv`.
        **parameters: Of what makes it.

    Raises:
        ValueError: If there is none of that name, or a parameter is out of range.
    """

    makers: ClassVar[Makers]

    def __init__(self, name: str, *, render_mode: str | None = None, **parameters: Any) -> None:
        super().__init__(**made(self.makers, name, parameters), render_mode=render_mode)


class NamedVectorEnv(TextGenVectorEnv):
    """Is the native vector environment of a `NamedEnv`.

    Args:
        num_envs: Number of rows n.
        name: A key of `makers`.
        autoreset_mode: As in `TextGenVectorEnv`.
        copy: As in `TextGenVectorEnv`.
        render_mode: As in `TextGenVectorEnv`.
        max_episode_steps: As in `TextGenVectorEnv`.
        **parameters: Of what makes it.

    Raises:
        ValueError: If there is none of that name, or a parameter is out of range.
    """

    makers: ClassVar[Makers]

    def __init__(
        self,
        num_envs: int = 1,
        *,
        name: str,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(
            num_envs,
            **made(self.makers, name, parameters),
            autoreset_mode=autoreset_mode,
            copy=copy,
            render_mode=render_mode,
            max_episode_steps=max_episode_steps,
        )
