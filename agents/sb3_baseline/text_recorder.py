"""Whole texts out of the steps of Stable-Baselines3: `TextRecorder`.

SB3 collects a fixed number of steps, in which texts end when they end. This callback writes down
those that ended, in the form in which our own PPO reports them, and measures where the time goes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from agents.policy.token_batch import TokenBatch
from agents.rollout.buffer import Rollout
from agents.rollout.timer import Timer


class FinishedText(NamedTuple):
    """Holds a text of `length` tokens, of which the policy chose the last k.

    Attributes:
        input_ids: (length,).
        rewards: (k,), paid for each.
        log_probs: (k,), when they were sampled.
        truncated: Whether it was cut off rather than final.
        info: What the environment reported at its last step.
    """

    input_ids: Tensor
    rewards: Tensor
    log_probs: Tensor
    truncated: bool
    info: dict[str, Any]


class TextRecorder(BaseCallback):
    """Writes down the texts that end, and hands them on once per update, before SB3 learns.

    Args:
        num_envs: n.
        max_length: L.
        on_rollout: Called with the texts that ended since the last call, if any did.

    Attributes:
        timer: Learns the seconds of `generate` and `train`.
    """

    def __init__(
        self, num_envs: int, max_length: int, on_rollout: Callable[[Rollout], None]
    ) -> None:
        super().__init__()
        self.timer = Timer()
        self._on_rollout = on_rollout
        self._running = ExitStack()
        self._written = np.zeros(num_envs, dtype=np.int64)
        self._rewards = np.zeros((num_envs, max_length), dtype=np.float32)
        self._log_probs = np.zeros((num_envs, max_length), dtype=np.float32)
        self._finished: list[FinishedText] = []

    def _on_rollout_start(self) -> None:
        self._running.enter_context(self.timer("generate"))

    def _on_step(self) -> bool:
        rows = np.arange(len(self._written))
        self._rewards[rows, self._written] = self.locals["rewards"]
        self._log_probs[rows, self._written] = self.locals["log_probs"].numpy(force=True)
        self._written += 1
        for row in np.flatnonzero(self.locals["dones"]).tolist():
            self._finished.append(self._end(row, self.locals["infos"][row]))
        return True

    def _on_rollout_end(self) -> None:
        self._running.close()
        if self._finished:
            self._on_rollout(rollout_of(self._finished))
            self._finished = []
        self._running.enter_context(self.timer("train"))

    def _on_training_end(self) -> None:
        self._running.close()

    def _end(self, row: int, info: dict[str, Any]) -> FinishedText:
        final, n = info["terminal_observation"], self._written[row]
        self._written[row] = 0
        return FinishedText(
            input_ids=torch.from_numpy(_text(final)),
            rewards=torch.from_numpy(self._rewards[row, :n].copy()),
            log_probs=torch.from_numpy(self._log_probs[row, :n].copy()),
            truncated=info["TimeLimit.truncated"],
            info=info,
        )


def rollout_of(finished: list[FinishedText]) -> Rollout:
    """Returns B finished texts side by side, padded to the longest."""
    lengths = torch.tensor([len(text.input_ids) for text in finished])
    chosen = torch.tensor([len(text.rewards) for text in finished])
    positions = torch.arange(int(lengths.max()))
    attention_mask = positions < lengths[:, None]
    return Rollout(
        texts=TokenBatch(
            input_ids=pad_sequence([text.input_ids for text in finished], batch_first=True),
            attention_mask=attention_mask,
            completion_mask=attention_mask & (positions >= (lengths - chosen)[:, None]),
        ),
        rewards=_after_prompts([text.rewards for text in finished], lengths),
        log_probs=_after_prompts([text.log_probs for text in finished], lengths),
        truncated=torch.tensor([text.truncated for text in finished]),
        infos=[text.info for text in finished],
    )


def _after_prompts(values: list[Tensor], lengths: Tensor) -> Tensor:
    """Returns one value for each of the last tokens of each text, 0 elsewhere, (B, T)."""
    shifted = [
        torch.cat([value.new_zeros(length - len(value)), value])
        for value, length in zip(values, lengths.tolist(), strict=True)
    ]
    return pad_sequence(shifted, batch_first=True)


def _text(observation: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    length = int(observation["attention_mask"].sum())
    return observation["input_ids"][:length].astype(np.int64)
