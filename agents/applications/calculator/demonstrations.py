"""Sums as somebody answers them, with the calculator and without: what the starting model imitates.

They are played in the environment, so that what is imitated is what a policy sees. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.algorithms.examples import Demonstrations
from agents.policy.token_batch import TokenBatch
from text_gym import Prompt, TextGenEnv, Tokenizer
from text_gym.applications import ApplicationEnv
from text_gym.applications.calculator import CALL


class Answered(NamedTuple):
    """A sum, and the turns in which somebody answers it."""

    prompt: Prompt
    turns: Sequence[str]


def answered(sums: Sequence[Prompt], *, calls: float, seed: int) -> list[Answered]:
    """Returns right answers to sums, some after a call of the calculator.

    Args:
        sums: With `reference` and `metadata["expression"]`.
        calls: Share of the sums that are put to the calculator.
        seed: Of which they are.
    """
    called = np.random.default_rng(seed).random(len(sums)) < calls
    return [
        Answered(one, [one.metadata["expression"] + CALL] * is_called + [str(one.reference)])
        for one, is_called in zip(sums, called.tolist(), strict=True)
    ]


def demonstrations(texts: Sequence[Answered], tokenizer: Tokenizer) -> Demonstrations:
    """Returns what comes of the turns in the environment, in the tokens of a model."""
    env = ApplicationEnv("Calculator", prompts=[one.prompt for one in texts], tokenizer=tokenizer)
    played = [_played(env, one) for one in texts]
    return Demonstrations(_batch(played), torch.ones(len(played)))


class _Text(NamedTuple):
    """One text: its tokens, and which of them the one who answered wrote."""

    ids: list[int]
    own: list[bool]


def _played(env: TextGenEnv, text: Answered) -> _Text:
    """Writes turns into the environment, and returns the text that comes of it."""
    observation, info = env.reset(options={"prompt": text.prompt})
    own = [False] * info["prompt_length"]
    for turn in text.turns:
        for token in [*env.tokenizer.encode(turn), env.tokenizer.eos_token_id]:
            observation, *_, info = env.step(token)
            own += [True, *[False] * info.get("appended", 0)]
    return _Text(observation["input_ids"][: len(own)].tolist(), own)


def _batch(texts: Sequence[_Text]) -> TokenBatch:
    longest = max(len(one.ids) for one in texts)

    def padded(rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])

    lengths = torch.tensor([len(one.ids) for one in texts])
    written = torch.arange(longest) < lengths[:, None]
    own = padded([one.own for one in texts]).bool()
    return TokenBatch(padded([one.ids for one in texts]), written, own)
