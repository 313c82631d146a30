"""The texts that environments hold when something in the user's code fails.

A wrapper or an environment may fail on any of them; a reward function names its text itself.
"""

from __future__ import annotations

from typing import Any

from gymnasium.error import ResetNeeded
from gymnasium.vector import VectorEnv

from text_gym import TextGenVectorEnv
from text_gym.quoting import quoted
from text_gym.row_state import recalled_prompt

_SHOWN = 3


def texts_at_hand(envs: VectorEnv[Any, Any, Any]) -> list[str]:
    """Returns a line for each of a few texts: those that have just ended, else any.

    None of environments that are not `TextGenVectorEnv`, or have not begun.
    """
    texts: Any = envs.unwrapped
    if not isinstance(texts, TextGenVectorEnv):
        return []
    try:
        states = [texts.get_row_state(row)["row"] for row in range(texts.num_envs)]
    except ResetNeeded:
        return []
    ended = [one for one in states if one["stop_reason"] is not None]
    listed = texts.task.source.prompts
    return [
        f"prompt={quoted(recalled_prompt(one['prompt'], listed).text)}, "
        f"completion={quoted(texts.tokenizer.decode(one['completion_ids']))}"
        for one in (ended or states)[:_SHOWN]
    ]
