"""The monitor that a run names: its measure, its texts, and what is written of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from agents.agent import Agent
from agents.algorithms.configs.names import name_of
from agents.applications.fine_tuning import FineTuning
from agents.callbacks import Callback
from agents.evaluation.metrics import COMPARED, METRICS, Evaluation
from agents.monitoring.monitor import Measure, Monitor
from agents.runs.learners import Learner
from agents.runs.rewards import load_reward
from agents.runs.run_folder import RunFolder
from agents.runs.shared_evaluation import rescored_together

FILE = "monitor.json"
_STREAM = 1
"""Tells the monitor's texts from those of the evaluation before and after, which it is not to
choose by: they would flatter the moment that was chosen for them."""


def make_measure(name: str, device: torch.device | str = "cpu") -> Measure:
    """Returns the measure of a name; see `load_reward`.

    Raises:
        ValueError: If nothing has that name.
    """
    if name in COMPARED:
        return lambda evaluation: _per_text(name, evaluation)
    try:
        reward = load_reward(name, device)
    except ValueError as error:
        raise ValueError(
            f"monitor and select_by must be one of {COMPARED}, or what reward may name: {error}"
        ) from error
    return partial(rescored_together, reward)


def make_monitor(
    config: FineTuning, learner: Learner, envs: VectorEnv[Any, Any, Any], device: torch.device
) -> Monitor | None:
    """Returns the monitor of a run; None if it has none.

    Args:
        config: Of the run.
        learner: Evaluates the agent.
        envs: Where evaluated texts are written.
        device: Where a measure that is a model computes.

    Raises:
        ValueError: If the learner keeps no checkpoints, or nothing has the measure's name.
    """
    if config.watched is None:
        return None
    if not learner.resumable:
        raise ValueError(
            f"monitor and select_by must be None for {name_of(config.algorithm)}, got "
            f"{config.watched!r}"
        )
    seed = int(np.random.SeedSequence([config.algorithm.seed, _STREAM]).generate_state(1)[0])
    own = dataclasses.replace(config, algorithm=dataclasses.replace(config.algorithm, seed=seed))
    return Monitor(
        config.watched,
        lambda agent: learner.evaluate(agent, envs, own),
        make_measure(config.watched, device),
        every=config.monitor_every,
        keep_best=config.select_by is not None,
        stop=config.stop_when == "parted",
    )


class MonitorFile(Callback):
    """Writes what a monitor has seen to `monitor.json`, after every look; stands after it.

    Args:
        monitor: Of the run.
        record: Of its folder.
    """

    def __init__(self, monitor: Monitor, record: RunFolder) -> None:
        self._monitor, self._record = monitor, record
        self._written = 0

    def on_training_start(self, agent: Agent, total_episodes: int) -> None:
        """Writes the first look."""
        self._write()

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Writes, if there was a look."""
        self._write()
        return True

    def on_training_end(self, agent: Agent) -> None:
        """Writes, if there was a look."""
        self._write()

    def _write(self) -> None:
        looks = self._monitor.looks
        if len(looks) != self._written:
            self._written = len(looks)
            seen = [look._asdict() for look in looks]
            self._record.write_json(FILE, {**verdict(self._monitor), "looks": seen})


def verdict(monitor: Monitor) -> dict[str, Any]:
    """Returns by what was measured, when it was best, and when reward and measure parted."""
    return {
        "measure": monitor.name,
        "best_update": monitor.best.updates,
        "parted_at_update": monitor.parted,
    }


def told(monitor: Monitor) -> str:
    """Returns the verdict in a sentence."""
    parted = "were not seen to part"
    if monitor.parted is not None:
        parted = f"part from update {monitor.parted} on"
    return (
        f"Monitor: {monitor.name} was best after update {monitor.best.updates}; reward and "
        f"{monitor.name} {parted}."
    )


def _per_text(name: str, evaluation: Evaluation) -> Sequence[float]:
    values = METRICS[name].of(evaluation)
    assert isinstance(values, Sequence)
    return values
