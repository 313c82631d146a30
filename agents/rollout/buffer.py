"""Episodes as they are written down, and the `Rollout` they become.

Knows the observation contract (`input_ids`, `attention_mask`, right-padded, growing by the action,
and by what others add at the end of a turn) and Gymnasium's vector infos; neither policies nor when
to step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.policy.action_masks import MaskTable
from agents.policy.token_batch import TokenBatch, concatenated, stacked

Observations = dict[str, NDArray[Any]]
_QUOTED = 100
"""Most characters, or tokens, of a text in a message."""


@dataclass(frozen=True)
class Rollout:
    """Holds B finished episodes.

    Attributes:
        texts: What was written, (B, T).
        rewards: (B, T) float32, paid by the environment for choosing the token at t.
        log_probs: (B, T) float32, of the chosen tokens when they were sampled.
        truncated: (B,) bool, True where the last state was cut off rather than final.
        infos: For each episode, what the environment reported at its reset and at its last step.
        group_ids: (B,) int64, equal for episodes that are compared with one another: the reported
            `group_id`, told apart between processes; None where the environment reports none.
    """

    texts: TokenBatch
    rewards: Tensor
    log_probs: Tensor
    truncated: Tensor
    infos: list[dict[str, Any]]
    group_ids: Tensor | None = None

    def __len__(self) -> int:
        """Returns B."""
        return len(self.infos)

    def to(self, device: torch.device) -> Rollout:
        """Returns the rollout on a device."""
        return Rollout(
            self.texts.to(device),
            self.rewards.to(device),
            self.log_probs.to(device),
            self.truncated.to(device),
            self.infos,
            None if self.group_ids is None else self.group_ids.to(device),
        )

    def named(self, number: int) -> str:
        """Says which text has a number and what it was paid, in one line."""
        episode = self.infos[number].get("text_episode")
        if episode is None:
            chosen = self.texts.completion_mask[number]
            text = f"tokens {self.texts.input_ids[number][chosen][:_QUOTED].tolist()}"
        else:
            text = f"{episode.completion[:_QUOTED]!r} after {episode.prompt[:_QUOTED]!r}"
        return f"{text}, paid {self.rewards[number].sum().item():g}"

    def sampling_error(self, log_probs: Tensor) -> float:
        """Returns how far log-probs (B, T) lie from those of sampling, in nats, at most."""
        difference = (self.log_probs - log_probs).abs()
        return float(torch.where(self.texts.completion_mask, difference, 0).max())

    def select(self, rows: Tensor) -> Rollout:
        """Returns some of the episodes, cut to the longest of them."""
        texts = self.texts.select(rows)
        width = texts.input_ids.shape[1]
        return Rollout(
            texts,
            self.rewards[rows, :width],
            self.log_probs[rows, :width],
            self.truncated[rows],
            [self.infos[row] for row in rows.tolist()],
            None if self.group_ids is None else self.group_ids[rows],
        )

    @property
    def cut_off(self) -> Tensor:
        """Which episodes the token limit ended, (B,) bool, whether that truncates or terminates."""
        at_limit = [info.get("stop_reason") == "length" for info in self.infos]
        return self.truncated | torch.tensor(at_limit, device=self.truncated.device)

    @property
    def scores(self) -> Tensor:
        """The sum of each episode's rewards, (B,)."""
        return self.rewards.sum(dim=1)


def concatenated_rollouts(parts: Sequence[Rollout]) -> Rollout:
    """Returns the episodes of several rollouts as one, in their order."""
    return Rollout(
        concatenated([part.texts for part in parts]),
        stacked([part.rewards for part in parts]),
        stacked([part.log_probs for part in parts]),
        stacked([part.truncated for part in parts]),
        [info for part in parts for info in part.infos],
        _concatenated_groups([part.group_ids for part in parts]),
    )


def _concatenated_groups(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Numbers the groups of several rollouts anew, since each counts its own."""
    keys = [(i, part) for i, part in enumerate(parts) if part is not None]
    if len(keys) < len(parts):
        return None
    pairs = torch.cat([torch.stack([torch.full_like(part, i), part], dim=1) for i, part in keys])
    numbers: Tensor = pairs.unique(dim=0, return_inverse=True)[1]
    return numbers


class RolloutBuffer:
    """Writes down B episodes as they happen; episodes are numbered as they start.

    Args:
        n_episodes: B.
        shape: Of the observations' token ids, (n, L).

    Attributes:
        max_length: L.
    """

    def __init__(self, n_episodes: int, shape: tuple[int, ...]) -> None:
        n_rows, self.max_length = shape
        self._input_ids = np.zeros((n_episodes, self.max_length), dtype=np.int64)
        self._rewards = np.zeros((n_episodes, self.max_length), dtype=np.float32)
        self._log_probs = np.zeros((n_episodes, self.max_length), dtype=np.float32)
        self._mask_index = np.zeros((n_episodes, self.max_length), dtype=np.int64)
        self._chosen = np.zeros((n_episodes, self.max_length), dtype=np.bool_)
        self._lengths = np.zeros(n_episodes, dtype=np.int64)
        self._truncated = np.zeros(n_episodes, dtype=np.bool_)
        self._infos: list[dict[str, Any]] = [{} for _ in range(n_episodes)]
        self._episode_of = np.full(n_rows, -1)  # of each row; -1 between and after episodes
        self._n_started = 0

    @property
    def n_waiting(self) -> int:
        """Episodes that have not started."""
        return len(self._lengths) - self._n_started

    @property
    def writing(self) -> NDArray[np.bool_]:
        """In which environment rows an episode is being written, (n,)."""
        return self._episode_of >= 0

    @property
    def unfinished(self) -> bool:
        """Whether an episode is being written."""
        return bool(self.writing.any())

    def begin(
        self, rows: Sequence[int], observations: Observations, infos: dict[str, Any]
    ) -> dict[int, Tensor]:
        """Starts the next episodes in `rows` and returns their prompts by row.

        Args:
            rows: k environment rows.
            observations: Of the reset, by environment row.
            infos: Of the reset.

        Raises:
            ValueError: If a prompt is empty.
        """
        prompts = {}
        reported = _of_rows(infos, rows)
        for row in rows:
            episode = self._n_started
            length = int(observations["attention_mask"][row].sum())
            if not length:
                raise ValueError(
                    "envs must begin each text with a prompt of at least one token, got an "
                    f"attention_mask of zeros in row {row}"
                )
            prompt = observations["input_ids"][row, :length]
            self._episode_of[row] = episode
            self._input_ids[episode, :length] = prompt
            self._lengths[episode] = length
            self._infos[episode] = reported[row]
            self._n_started += 1
            prompts[row] = torch.from_numpy(prompt.copy())
        return prompts

    def append(
        self,
        rows: Sequence[int],
        actions: NDArray[np.int64],
        rewards: NDArray[Any],
        log_probs: Tensor,
        masks: MaskTable,
    ) -> None:
        """Writes one token to the episode of each of `rows`, if it is in one.

        Args:
            rows: k environment rows.
            actions: By environment row, (n,).
            rewards: By environment row, (n,).
            log_probs: Of the actions, in the order of `rows`, (k,).
            masks: Those in force when the actions were chosen.
        """
        index = np.asarray(rows)
        in_episode = self._episode_of[index] >= 0
        index = index[in_episode]
        episodes = self._episode_of[index]
        positions = self._lengths[episodes]
        self._input_ids[episodes, positions] = actions[index]
        self._chosen[episodes, positions] = True
        self._rewards[episodes, positions] = rewards[index]
        self._log_probs[episodes, positions] = log_probs.numpy(force=True)[in_episode]
        self._mask_index[episodes, positions] = masks.current[index]
        self._lengths[episodes] += 1

    def respond(
        self, observations: Observations, infos: dict[str, Any]
    ) -> dict[int, tuple[Tensor, int]]:
        """Writes down what others added to texts; returns these, whole, and how much, by row."""
        if "appended" not in infos:
            return {}
        texts = {}
        for row in np.flatnonzero(infos["_appended"] & self.writing).tolist():
            episode = self._episode_of[row]
            start = int(self._lengths[episode])
            added = int(infos["appended"][row])
            end = start + added
            self._input_ids[episode, start:end] = observations["input_ids"][row, start:end]
            self._lengths[episode] = end
            texts[row] = torch.from_numpy(self._input_ids[episode, :end].copy()), added
        return texts

    def end(
        self,
        terminations: NDArray[np.bool_],
        truncations: NDArray[np.bool_],
        observations: Observations,
        infos: dict[str, Any],
    ) -> list[int]:
        """Closes the episodes that ended and returns their rows.

        Raises:
            ValueError: If a final observation is not the prompt followed by the actions and what
                was added.
        """
        ended = np.flatnonzero((terminations | truncations) & (self._episode_of >= 0)).tolist()
        reported = _of_rows(infos.get("final_info", infos), ended)
        for row in ended:
            episode = self._episode_of[row]
            final = (
                infos["final_obs"][row]["input_ids"]
                if "final_obs" in infos
                else observations["input_ids"][row]
            )
            if not np.array_equal(final, self._input_ids[episode]):
                raise ValueError(
                    "envs must append each action to input_ids and pad with 0, but row "
                    f"{row} ended with {final.tolist()} where the prompt and the actions were "
                    f"{self._input_ids[episode].tolist()}"
                )
            self._truncated[episode] = truncations[row] and not terminations[row]
            self._infos[episode] |= reported[row]
        self._episode_of[ended] = -1
        return list(ended)

    def rollout(self, masks: MaskTable) -> Rollout:
        """Returns what was written, cut to the longest text."""
        width = int(self._lengths.max())
        positions = np.arange(width)
        attention_mask = positions < self._lengths[:, None]
        index = torch.from_numpy(self._mask_index[:, :width])
        return Rollout(
            texts=TokenBatch(
                input_ids=torch.from_numpy(self._input_ids[:, :width]),
                attention_mask=torch.from_numpy(attention_mask),
                completion_mask=torch.from_numpy(self._chosen[:, :width]),
                action_masks=masks.at(index),
            ),
            rewards=torch.from_numpy(self._rewards[:, :width]),
            log_probs=torch.from_numpy(self._log_probs[:, :width]),
            truncated=torch.from_numpy(self._truncated),
            infos=self._infos,
            group_ids=self._group_ids(),
        )

    def _group_ids(self) -> Tensor | None:
        if not all("group_id" in info for info in self._infos):
            return None
        return torch.tensor([int(info["group_id"]) for info in self._infos])


def _of_rows(infos: dict[str, Any], rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Returns rows' infos out of Gymnasium's arrays; what has no `_key` mask is all rows'."""
    if not rows:
        return {}
    taken: dict[int, dict[str, Any]] = {row: {} for row in rows}
    for key, value in infos.items():
        if key.startswith(("_", "final_")) or key == "action_mask":
            # A mask of another key; the episode before; kept by `MaskTable`, and of all rows.
            continue
        inner = _of_rows(value, rows) if isinstance(value, dict) else value
        present = infos.get(f"_{key}")
        for row in rows:
            if present is None or present[row]:
                taken[row][key] = inner[row]
    return taken
