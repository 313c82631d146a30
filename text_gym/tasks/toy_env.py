"""The environments of toy tasks, by name: `ToyEnv` and `ToyVectorEnv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from text_gym.named_env import NamedEnv, NamedVectorEnv, made
from text_gym.tasks.balanced_brackets import balanced_brackets
from text_gym.tasks.counting_up import counting_up
from text_gym.tasks.parameters import Arguments
from text_gym.tasks.random_walk import random_walk
from text_gym.tasks.rewriting import copying, reversing, sorting
from text_gym.tasks.word_count import word_count

TOY_TASKS: Mapping[str, Callable[..., Arguments]] = {
    "BalancedBrackets": balanced_brackets,
    "Copying": copying,
    "CountingUp": counting_up,
    "RandomWalk": random_walk,
    "Reversing": reversing,
    "Sorting": sorting,
    "WordCount": word_count,
}
"""What makes the task of each `TextGen/<name>-v0`; its docstring is the task's page."""

OPTIMAL_RETURN = 1.0
"""What the best completion of every prompt of every toy task is paid, whatever the parameters."""


def arguments_of(name: str, **parameters: Any) -> Arguments:
    """Returns the arguments of `TextGenEnv` that make a toy task.

    Raises:
        ValueError: If there is none of that name, or a parameter is out of range.
    """
    return made(TOY_TASKS, name, parameters)


class ToyEnv(NamedEnv):
    """Is a `TextGenEnv` for a task with a known optimum; `gym.make("TextGen/<name>-v0")` makes it.

    Args:
        name: A key of `TOY_TASKS`.
        render_mode: As in `TextGenEnv`.
        **parameters: Of the task: how long, how many symbols, and so on.

    Attributes:
        optimal_return: The highest return from every prompt.

    Raises:
        ValueError: If there is no such task, or a parameter is out of range.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> env = gym.make("TextGen/Sorting-v0", length=3)
        >>> env.unwrapped.optimal_return, env.spec.reward_threshold
        (1.0, 1.0)
        >>> _ = env.reset(options={"prompt_id": 36})
        >>> for token in (0, 1, 2, env.unwrapped.tokenizer.eos_token_id):
        ...     observation, reward, terminated, truncated, info = env.step(token)
        >>> info["text_episode"].prompt, info["text_episode"].completion, reward
        ('cba', 'abc', 1.0)
    """

    optimal_return = OPTIMAL_RETURN

    makers = TOY_TASKS


class ToyVectorEnv(NamedVectorEnv):
    """Is the native vector environment of a `ToyEnv`; `gym.make_vec` makes it.

    Args:
        num_envs: Number of rows n.
        name: A key of `TOY_TASKS`.
        autoreset_mode: As in `TextGenVectorEnv`.
        copy: As in `TextGenVectorEnv`.
        render_mode: As in `TextGenVectorEnv`.
        **parameters: Of the task.

    Attributes:
        optimal_return: The highest return from every prompt.

    Raises:
        ValueError: If there is no such task, or a parameter is out of range.
    """

    optimal_return = OPTIMAL_RETURN

    makers = TOY_TASKS
