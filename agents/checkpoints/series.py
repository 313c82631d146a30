"""The checkpoints of a run: one every few updates, the last few kept.

`Checkpoints` is a callback that saves; `latest` finds the newest that can be used.
What one holds is `agents.checkpoints.checkpoint`.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agents.agent import Agent
from agents.callbacks import Callback
from agents.checkpoints import checkpoint
from agents.checkpoints.folder import (
    CheckpointError,
    clear_leftovers,
    remove_folder,
    require_whole,
    standing,
)
from agents.distributed import processes

_NAME = re.compile(r"update-(\d{6,})")


class Checkpoints(Callback):
    """Saves the agent every few updates, and when training ends.

    The checkpoints leave out what does not change; `agent.restore`, with an agent built the same
    way, goes on from one. It must be the last callback, since it saves the state of all.

    Args:
        folder: Of the checkpoints, one folder in it for each; its own. What a killed training left
            half done in it is cleared when the next begins.
        every: Updates from one to the next.
        keep: How many are kept. Older ones are removed once the new one is in place.

    Raises:
        ValueError: If `every` or `keep` is below 1.

    Example:
        >>> import tempfile, gymnasium as gym, text_gym
        >>> from transformers import GPT2Config
        >>> from agents import PPO, CausalLMPolicy, PPOConfig
        >>> folder = tempfile.TemporaryDirectory()
        >>> def make_agent():
        ...     envs = gym.make_vec("TextGen-v0", num_envs=8, autoreset_mode="Disabled")
        ...     sizes = dict(n_embd=16, n_layer=1, n_head=1, n_positions=24)
        ...     config = GPT2Config(vocab_size=int(envs.single_action_space.n), **sizes)
        ...     callbacks = [Checkpoints(folder.name)]
        ...     settings = PPOConfig(n_episodes=8, batch_size=8)
        ...     return PPO(CausalLMPolicy.from_config(config), envs, settings, callbacks=callbacks)
        >>> agent = make_agent().learn(total_episodes=16)
        >>> newest = latest(folder.name)
        >>> newest.name, make_agent().restore(newest).n_updates
        ('update-000002', 2)
        >>> folder.cleanup()
    """

    def __init__(self, folder: str | Path, *, every: int = 1, keep: int = 2) -> None:
        for name, value in (("every", every), ("keep", keep)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.folder = Path(folder)
        self.every = every
        self.keep = keep
        self._n_updates_saved: int | None = None

    def on_training_start(self, agent: Agent, total_episodes: int) -> None:
        """Refuses at once what could not be saved later, and clears what was left half done.

        Raises:
            ValueError: If it is not the last callback, or the agent cannot be saved.
        """
        if agent.callbacks[-1] is not self:
            raise ValueError(
                "callbacks must have Checkpoints as the last, whose state would not be saved "
                f"otherwise, got {type(agent.callbacks[-1]).__name__} after it"
            )
        checkpoint.require_possible(agent)
        if processes.is_main():
            clear_leftovers(self.folder)
            path = self._path(agent)
            if path.exists() and _damage(path) is None:
                self._remove_older(path)

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Saves, if it is time to."""
        if agent.n_updates % self.every == 0:
            self._save(agent)
        return True

    def on_training_end(self, agent: Agent) -> None:
        """Saves the end, unless it was saved."""
        if agent.n_updates != self._n_updates_saved or not self._path(agent).exists():
            self._save(agent)

    def get_state(self) -> dict[str, Any]:
        """Returns the number of the last update that was saved."""
        return {"n_updates_saved": self._n_updates_saved}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from the checkpoint that holds this state, which need not be saved again."""
        self._n_updates_saved = state["n_updates_saved"]

    def _path(self, agent: Agent) -> Path:
        return self.folder / f"update-{agent.n_updates:06d}"

    def _save(self, agent: Agent) -> None:
        path = self._path(agent)
        if processes.is_main() and os.path.lexists(path) and _damage(path):
            remove_folder(path)  # skipped when training went on from an older one
        self._n_updates_saved = agent.n_updates
        checkpoint.save(checkpoint.require_possible(agent), path, models=False)
        if processes.is_main():
            series = _newest_first(self.folder)
            # What is newer lies in a future that this training does not come from.
            for newer in series[: series.index(path)]:
                remove_folder(newer)
            self._remove_older(path)

    def _remove_older(self, path: Path) -> None:
        series = _newest_first(self.folder)
        for outlived in series[series.index(path) + self.keep :]:
            remove_folder(outlived)


def latest(folder: str | Path, *requirements: Callable[[Path], None]) -> Path | None:
    """Returns the newest checkpoint that can be used, or None if there is none at all.

    Warns of each newer one that cannot: a damaged one, or whatever else stands in its place.

    Args:
        folder: Of the checkpoints.
        requirements: Raise CheckpointError for one that is whole and cannot be used all the same.

    Raises:
        CheckpointError: If none of them can be used.
    """
    damages: list[CheckpointError] = []
    for path in _newest_first(Path(folder)):
        damage = _damage(path, *requirements)
        if damage is None:
            for one in damages:
                warnings.warn(f"{one}; going on from {path.name} instead", stacklevel=2)
            return path
        damages.append(damage)
    if damages:
        raise CheckpointError(
            f"none of the {len(damages)} checkpoints in {folder} can be used; the newest: "
            f"{damages[0]}"
        )
    return None


def _damage(path: Path, *requirements: Callable[[Path], None]) -> CheckpointError | None:
    if path.is_symlink() or path.is_file():
        kind = "link" if path.is_symlink() else "file"
        return CheckpointError(f"{path} must be a folder, got a {kind}")
    try:
        for require in (require_whole, *requirements):
            require(path)
    except CheckpointError as damage:
        return damage
    return None


def _newest_first(folder: Path) -> list[Path]:
    names = filter(_NAME.fullmatch, standing(folder))
    in_order = sorted(names, key=lambda name: int(name.removeprefix("update-")), reverse=True)
    return [folder / name for name in in_order]
