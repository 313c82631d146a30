"""What may happen besides learning: hooks that PPO calls at fixed points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from agents.agent import Agent
    from agents.rollout.buffer import Rollout


class Callback:
    """Does nothing at every point; subclass it and override what is wanted."""

    def on_training_start(self, agent: Agent, total_episodes: int) -> None:
        """Called once, before the first rollout."""

    def on_rollout_end(self, agent: Agent, rollout: Rollout) -> None:
        """Called with each batch of episodes, before the policy learns from it."""

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Called after each update with what was logged; return False to stop training."""
        return True

    def on_training_end(self, agent: Agent) -> None:
        """Called once, after the last update."""

    def get_state(self) -> dict[str, Any]:
        """Returns what a checkpoint must hold of the callback, in values that JSON can hold."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `get_state` returned when the checkpoint was saved."""

    def tensors(self) -> dict[str, Tensor]:
        """Returns what a checkpoint must hold of the callback besides, by name. Often nothing."""
        return {}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `tensors` returned; called after `set_state`, and never without any."""


class BestScore(Callback):
    """Remembers the best mean score of a batch so far.

    Attributes:
        score: Its `rollout/score_mean`; None before the first update.
        n_episodes: Episodes learnt from when it was measured, its own included.
    """

    def __init__(self) -> None:
        self.score: float | None = None
        self.n_episodes = 0

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Compares with the batch that was learnt from."""
        score = metrics["rollout/score_mean"]
        if self.score is None or score > self.score:
            self.score, self.n_episodes = score, agent.n_episodes
        return True

    def get_state(self) -> dict[str, Any]:
        """Returns the best score and when it was reached."""
        return {"score": self.score, "n_episodes": self.n_episodes}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from an earlier best score."""
        self.score, self.n_episodes = state["score"], state["n_episodes"]


class StopOnScore(Callback):
    """Stops training once the mean score of a batch reaches a threshold.

    Args:
        threshold: Of `rollout/score_mean`.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Returns whether the threshold is still to be reached."""
        return metrics["rollout/score_mean"] < self.threshold
