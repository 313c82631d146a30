"""What may happen besides learning: hooks that PPO calls at fixed points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.ppo import PPO
    from agents.record import Rollout


class Callback:
    """Does nothing at every point; subclass it and override what is wanted."""

    def on_training_start(self, agent: PPO, total_episodes: int) -> None:
        """Called once, before the first rollout."""

    def on_rollout_end(self, agent: PPO, rollout: Rollout) -> None:
        """Called with each batch of episodes, before the policy learns from it."""

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        """Called after each update with what was logged; return False to stop training."""
        return True

    def on_training_end(self, agent: PPO) -> None:
        """Called once, after the last update."""


class StopOnScore(Callback):
    """Stops training once the mean score of a batch reaches a threshold.

    Args:
        threshold: Of `rollout/score_mean`.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        """Returns whether the threshold is still to be reached."""
        return metrics["rollout/score_mean"] < self.threshold
