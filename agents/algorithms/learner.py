"""What every learner keeps, and saves: policy, optimiser, averaged policy, counters.

Does not know what is learnt from, nor the loop in which it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

from agents.agent import Trained
from agents.algorithms.configs.names import config_class_of
from agents.algorithms.configs.steps import StepsConfig
from agents.algorithms.kept_memory import keep_freed_memory
from agents.algorithms.trainable import require_total_episodes
from agents.algorithms.weight_average import WeightAverage
from agents.callbacks import Callback
from agents.checkpoints import checkpoint
from agents.checkpoints.folder import CheckpointError
from agents.distributed import processes
from agents.objectives.schedules import SCHEDULES
from agents.policy.causal_lm import CausalLMPolicy

C = TypeVar("C", bound=StepsConfig)
M = TypeVar("M", bound=Trained)


class Learner(ABC, Generic[C, M]):
    """Keeps what learning changes, and goes on from where it was saved.

    Args:
        policy: The policy to train, or whatever else learns, in place; the same in all processes.
        config: The hyperparameters.
        callbacks: Called at fixed points.

    Attributes:
        n_episodes: Episodes, or examples, learnt from so far.
        n_updates: Updates made so far.
        average: Of the parameters that learn; None unless `config.ema_decay` asks for it.
    """

    config_class: ClassVar[type[Any]]
    """Of the hyperparameters."""
    config: C
    envs: VectorEnv[Any, Any, Any] | None
    reference: CausalLMPolicy | None

    def __init__(self, policy: M, config: C, callbacks: Sequence[Callback]) -> None:
        keep_freed_memory()
        self.config = config
        self.policy = policy
        self.callbacks = list(callbacks)
        learning = policy.trainable_parameters()
        self._parameters = self.optimized_parameters()
        self.optimizer = torch.optim.Adam(
            self._parameters, lr=config.learning_rate, eps=config.adam_epsilon, fused=True
        )
        decay = config.ema_decay
        self.average = None if decay is None else WeightAverage(learning, decay)
        self.n_episodes = 0
        self.n_updates = 0

    def optimized_parameters(self) -> list[nn.Parameter]:
        """Returns what the optimiser moves: all that learns, unless an algorithm moves a part."""
        return list(self.policy.trainable_parameters().values())

    def save(self, path: str | Path) -> None:
        """Saves everything that training goes on from, models included, into a folder.

        See `agents.checkpoints.checkpoint`; the model alone is saved by `policy.save_pretrained`.

        Raises:
            ValueError: If the environments, or a wrapper around them, cannot give their state.
            FileExistsError: If something else than an earlier checkpoint is at `path`.
        """
        checkpoint.save(self, Path(path))

    def restore(self, path: str | Path) -> Self:
        """Goes on from a checkpoint, of `save` or of a run, of an agent built as this one was.

        Raises:
            FileNotFoundError, CheckpointError: If there is none, or it is damaged.
            ValueError: If the agent was built otherwise.
        """
        checkpoint.restore(self, Path(path))
        return self

    @classmethod
    def _saved_config(cls, **options: Any) -> C:
        """Returns the hyperparameters that a checkpoint holds.

        Raises:
            CheckpointError: If they are of another algorithm.
        """
        kind = config_class_of(options)
        if kind not in (None, config_class_of({f.name for f in fields(cls.config_class)})):
            raise CheckpointError(
                f"path must be a checkpoint of {cls.__name__}, with a {cls.config_class.__name__}, "
                f"got one with a {kind.__name__}"
            )
        settings: C = cls.config_class(**options)
        return settings

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return self.config.seed

    @property
    @abstractmethod
    def streams(self) -> dict[str, torch.Generator]:
        """The random streams by name."""

    @abstractmethod
    def learn(self, total_episodes: int) -> Self:
        """Trains until `total_episodes` have been learnt from.

        Raises:
            ValueError: If that is no int of at least 1.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns counters and controllers, in values that JSON can hold."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""

    def tensors(self) -> dict[str, Tensor]:
        """Returns the averaged parameters, if there are any."""
        return self.average.tensors() if self.average else {}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `tensors` returned."""
        if self.average:
            self.average.load_tensors(tensors)
        elif tensors:
            raise ValueError(
                f"ema_decay is None, so there must be no tensors, got {sorted(tensors)}"
            )

    def _begin(self, total_episodes: int) -> None:
        """Calls back before training, unless `total_episodes` is none to train until."""
        require_total_episodes(total_episodes)
        for callback in self.callbacks:
            callback.on_training_start(self, total_episodes)

    def _goes_on(self, metrics: Mapping[str, float]) -> bool:
        """Calls back after an update; returns whether nobody, in any process, wants to stop."""
        answers = [callback.on_update_end(self, metrics) for callback in self.callbacks]
        return all(a is not False for each in processes.all_gather_object(answers) for a in each)

    def _set_learning_rate(self, progress_remaining: float) -> float:
        factor = SCHEDULES[self.config.lr_schedule](progress_remaining)
        learning_rate = self.config.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        return learning_rate
