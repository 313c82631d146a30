"""What wrappers and solvers need of the environment inside, and what they say where it lacks it.

The observation contract, which environments of others may keep too, and the task, which only ours
have. Knows no rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gymnasium import spaces

from text_gym.quoting import quoted
from text_gym.task import TextTask

TEXT_KEYS = ("input_ids", "attention_mask")
"""Of an observation: where the text is."""


def require_text(space: Any) -> spaces.Dict:
    """Returns the observation space of one row; raises ValueError for one without the text."""
    if not isinstance(space, spaces.Dict) or not {*TEXT_KEYS} <= space.spaces.keys():
        raise ValueError(
            "env must observe a Dict with input_ids and attention_mask, as TextGenEnv does (wrap "
            f"observations outside of what reads texts), got {quoted(space)}"
        )
    return space


def task_of(env: Any) -> TextTask:
    """Returns the task of one environment of ours, or of a native vector.

    Raises:
        TypeError: If it is of another kind.
    """
    task = getattr(env.unwrapped, "task", None)
    if not isinstance(task, TextTask):
        raise TypeError(
            "env must be a TextGenEnv or a TextGenVectorEnv, in whatever wrappers, got "
            f"{quoted(env)}"
        )
    return task


def tasks_of(env: Any) -> Sequence[TextTask]:
    """Returns the tasks of a native vector or of the rows of one of Gymnasium's.

    Raises:
        TypeError: If it is of another kind.
    """
    base = env.unwrapped
    return base.get_attr("task") if hasattr(base, "get_attr") else [task_of(env)]
