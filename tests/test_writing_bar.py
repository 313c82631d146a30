"""The bar while texts are written."""

from __future__ import annotations

import io

import numpy as np
from gymnasium.vector import AutoresetMode
from rich.console import Console

from agents.runs.writing_bar import Counted, writing_bar
from text_gym import TextGenVectorEnv


def environments() -> TextGenVectorEnv:
    return TextGenVectorEnv(2, max_new_tokens=3, autoreset_mode=AutoresetMode.DISABLED)


def test_texts_are_counted_as_they_end_and_idle_rows_are_not() -> None:
    ended: list[int] = []
    envs = Counted(environments(), ended.append)
    envs.reset(seed=0)
    eos = envs.unwrapped.tokenizer.eos_token_id
    envs.step(np.array([eos, 1]))
    for _ in range(3):
        envs.step(np.array([1, 1]))
    assert ended == [1, 1]


def test_steps_are_those_of_the_environments_and_the_bar_leaves_nothing_behind() -> None:
    screen = io.StringIO()
    with writing_bar(environments(), 2, "writing", Console(file=screen)) as envs:
        envs.reset(seed=0)
        watched = [envs.step(np.array([1, 2]))[1:4] for _ in range(3)]
    envs = environments()
    envs.reset(seed=0)
    plain = [envs.step(np.array([1, 2]))[1:4] for _ in range(3)]
    np.testing.assert_equal(watched, plain)
    assert screen.getvalue().strip() == ""
