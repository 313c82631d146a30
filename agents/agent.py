"""What is known of a learner by those that watch it, save it or report on it.

Callbacks, checkpoints and summaries are typed against these protocols, so that none of them has to
know an algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig


class Agent(Protocol):
    """Learns from episodes, a batch at a time."""

    @property
    def n_episodes(self) -> int:
        """Episodes learnt from so far."""

    @property
    def n_updates(self) -> int:
        """Updates made so far."""

    @property
    def seed(self) -> int:
        """Of everything that the learner draws."""

    @property
    def callbacks(self) -> Sequence[Any]:
        """What is called at fixed points, in this order."""

    def learn(self, total_episodes: int) -> Self:
        """Trains until `total_episodes` have been learnt from."""


class Trained(Protocol):
    """A model that learns, or some of it: a policy, or a reward model."""

    @property
    def model(self) -> nn.Module:
        """What it is made of, as `transformers` knows it."""

    @property
    def head(self) -> nn.Linear:
        """Its last layer."""

    @property
    def options(self) -> PolicyConfig:
        """How it computes, and what of it learns."""

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Returns the parameters that learn by name, in a fixed order."""

    def save_pretrained(self, folder: str | Path, *, merge: bool = True) -> None:
        """Saves a folder that plain transformers reads, adapters merged or left out."""


@runtime_checkable
class Resumable(Agent, Protocol):
    """An agent whose training can be saved between updates and gone on with, bit for bit.

    What changes as it learns is: the parameters of `policy` that learn, the state of `optimizer`,
    the random streams, the environments and callbacks, and what `state_dict` and `tensors` return.
    """

    @property
    def policy(self) -> Trained:
        """What learns."""

    @property
    def reference(self) -> CausalLMPolicy | None:
        """What the KL is measured from; it does not learn. None where there is none."""

    @property
    def envs(self) -> VectorEnv[Any, Any, Any] | None:
        """Where it learns; None where it learns from a file."""

    @property
    def config(self) -> Any:
        """The hyperparameters, a dataclass."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What moves the parameters."""

    @property
    def streams(self) -> Mapping[str, torch.Generator]:
        """The random streams by name."""

    def state_dict(self) -> dict[str, Any]:
        """Returns counters and controllers, in values that JSON can hold."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""

    def tensors(self) -> dict[str, Tensor]:
        """Returns what else changes, by name: replay, averaged weights. Often nothing."""

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `tensors` returned.

        Raises:
            ValueError: If they are not what this agent has, by name, shape and dtype.
        """
