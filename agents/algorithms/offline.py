"""The loop of every algorithm that learns from a file: draw, forward, loss, step, evaluate.

An algorithm says what is minimised (`loss`), and nothing else. The file is there as a whole and
does not change, so that where training stands is a number: the order of an epoch follows from the
seed and the epoch. No algorithm is known here by name, and neither is any file.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from agents.algorithms.configs.offline import OfflineConfig
from agents.algorithms.diagnostics import Statistic, Statistics, of_step
from agents.algorithms.examples import Examples, chunks
from agents.algorithms.experience import StepTotals
from agents.algorithms.health_checks import memory_advice, require_sound_step
from agents.algorithms.learner import Learner, M
from agents.algorithms.trainable import require_learning
from agents.callbacks import Callback
from agents.distributed import processes

C = TypeVar("C", bound=OfflineConfig)
E = TypeVar("E", bound=Examples)

_SMALLER_PARTS = "lower micro_batch_size, or let less of the policy learn (LoRA, frozen_blocks)"


class Offline(Learner[C, M], Generic[C, E, M]):
    """Trains a model on examples that others made.

    Args:
        policy: The policy to train, or whatever else learns, in place.
        examples: What to learn from, at least one.
        config: The hyperparameters.
        heldout: What is evaluated after every epoch, and never learnt from; None: nothing.
        callbacks: Called at fixed points; every optimiser step is an update.

    Attributes:
        n_episodes: Examples learnt from so far, those of earlier epochs included.
        n_updates: Optimiser steps so far.
        n_tokens: Tokens of completions learnt from so far.
        average: Of the parameters that learn; None unless `config.ema_decay` asks for it.

    Raises:
        ValueError: If there is nothing to learn from, or nothing that learns.
    """

    config_class: ClassVar[type[OfflineConfig]]
    envs: None = None
    """There is none; checkpoints ask."""

    def __init__(
        self,
        policy: M,
        examples: E,
        config: C | None = None,
        *,
        heldout: E | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        settings: C = config or self.config_class()  # type: ignore[assignment]
        if len(examples) < 1:
            raise ValueError("examples must hold at least one example, got none")
        require_learning(policy)
        if policy.options.sharded:
            name = type(self).__name__
            raise ValueError(f"policy.sharded must be False for {name}, got True")
        processes.broadcast_from_main(policy.trainable_parameters().values())
        super().__init__(policy, settings, callbacks)
        self.examples = examples
        self.heldout = heldout
        self.reference = None
        self.n_tokens = 0

    # What an algorithm says.

    @abstractmethod
    def loss(self, batch: E, totals: StepTotals) -> tuple[Tensor, Statistics]:
        """Returns the loss of a micro-batch, and statistics that add up over an optimiser step.

        Args:
            batch: Some of the step's examples, on the policy's device.
            totals: Of the whole step.
        """

    def check_first(self, step: Mapping[str, float]) -> None:
        """Refuses a first step whose statistics are not what they must be at the start."""

    # The loop.

    def learn(self, total_episodes: int | None = None) -> Self:
        """Trains until `total_episodes` examples have been learnt from; None: `n_epochs` of them.

        Those of earlier calls are included.

        Raises:
            ValueError: If `total_episodes` is no int of at least 1.
            TrainingStopped: If a number is not what it must be, or memory runs out; the message
                says what to change. The policy stands as it was before the step that went wrong.
        """
        total = self.config.n_epochs * len(self.examples)
        total = total if total_episodes is None else total_episodes
        self._begin(total)
        while self.n_episodes < total:
            start = perf_counter()
            learning_rate = self._set_learning_rate(1 - self.n_episodes / total)
            # Draw: the next examples of this epoch's order.
            batch = self.draw()
            with memory_advice(_SMALLER_PARTS):
                # Forward, loss, step: parameters move.
                metrics = self.update(batch)
            self.n_episodes += len(batch)
            self.n_updates += 1
            self.n_tokens += batch.n_tokens
            # Evaluate: what was held out, at the end of every epoch.
            if self.heldout is not None and self.n_episodes % len(self.examples) == 0:
                metrics |= self.evaluate(self.heldout)
            metrics |= {
                "train/learning_rate": learning_rate,
                "train/epoch": self.n_episodes / len(self.examples),
                "time/tokens_per_second": batch.n_tokens / (perf_counter() - start),
            }
            if not self._goes_on(metrics):
                break
        for callback in self.callbacks:
            callback.on_training_end(self)
        return self

    def draw(self) -> E:
        """Returns the next batch of examples; the last one of an epoch may be smaller."""
        epoch, place = divmod(self.n_episodes, len(self.examples))
        seed = np.random.SeedSequence([self.config.seed, epoch]).generate_state(1)
        generator = torch.Generator().manual_seed(int(seed[0]))
        order = torch.randperm(len(self.examples), generator=generator)
        return self.examples.select(order[place : place + self.config.batch_size])

    def update(self, batch: E) -> dict[str, float]:
        """Takes an optimiser step, and returns its statistics under `train/`."""
        self.optimizer.zero_grad(set_to_none=True)
        step = {name: s.value for name, s in self._read(batch, learn=True).items()}
        if self.n_updates == 0:
            self.check_first(step)
        processes.sum_gradients(self._parameters)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        step["grad_norm"] = float(processes.full_tensor(norm))
        require_sound_step(step["loss"], step["grad_norm"], ratio=1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update()
        return {f"train/{name}": value for name, value in step.items()}

    @torch.no_grad()
    def evaluate(self, examples: E) -> dict[str, float]:
        """Returns the statistics of the loss on examples, under `eval/`, without learning."""
        read = self._read(examples, learn=False)
        return {f"eval/{name}": statistic.value for name, statistic in read.items()}

    def _read(self, batch: E, *, learn: bool) -> Statistics:
        """Adds up the loss, and its gradient, over micro-batches and processes."""
        totals, parts = StepTotals(batch.n_tokens, len(batch)), []
        for part in self._micro_batches(batch):
            loss, statistics = self.loss(part, totals)
            if learn:
                loss.backward()
            parts.append({"loss": Statistic(loss.item()), **statistics})
        return of_step([one for each in processes.all_gather_object(parts) for one in each])

    def _micro_batches(self, batch: E) -> Iterator[E]:
        """Yields this process's share of a batch."""
        rows = torch.arange(processes.rank(), len(batch), processes.world_size())
        size = self.config.micro_batch_size or self.config.batch_size
        for part in chunks(batch.select(rows), size) if len(rows) else ():
            yield part.to(self.policy.device)  # type: ignore[misc]

    # What users and checkpoints call.

    @property
    def streams(self) -> dict[str, torch.Generator]:
        """The random streams by name: none, the order of an epoch follows from its number."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Returns the counters."""
        return {
            "n_episodes": self.n_episodes,
            "n_updates": self.n_updates,
            "n_tokens": self.n_tokens,
            "n_examples": len(self.examples),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned.

        Raises:
            ValueError: If there were more examples, or fewer.
        """
        if state["n_examples"] != len(self.examples):
            raise ValueError(
                f"examples must be the {state['n_examples']} of the checkpoint, got "
                f"{len(self.examples)}"
            )
        self.n_episodes, self.n_updates = state["n_episodes"], state["n_updates"]
        self.n_tokens = state["n_tokens"]
