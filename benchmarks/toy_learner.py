"""How a learner of ours learns a toy task, and what its learning curve is.

In the shape of `sb3_learner` and `trl_learner`, so that a benchmark need not know who is who.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from agents import Callback, Rollout
from benchmarks import family
from benchmarks.learner import Learner, learnt
from benchmarks.learning_curve import LearningCurve


class ToyLearner(NamedTuple):
    """Says how one algorithm of ours learns.

    Attributes:
        learner: The algorithm and its settings.
        shared: Settings that learners have in common; the learner's own come before them.
    """

    learner: Learner
    shared: Mapping[str, Any]

    @property
    def name(self) -> str:
        """In figures."""
        return self.learner.name

    def plain(self) -> dict[str, Any]:
        """Returns all that a run depends on, in plain values."""
        return {
            "name": self.name,
            "config": dataclasses.asdict(self.learner.config(**self.shared)),
            "value_network": self.learner.value_network,
        }

    def but(self, **settings: Any) -> ToyLearner:
        """Returns the same learner with some other settings."""
        changed = {**self.learner.settings, **settings}
        return self._replace(learner=self.learner._replace(settings=changed))

    def run(self, toy: str, seed: int, budget: int) -> dict[str, Any]:
        """Lets it learn a toy task until its curve is done, and returns that in plain values."""
        config = self.learner.config(**self.shared, seed=seed)
        envs = family.envs_of(toy, config.n_episodes, self.learner.group_size)
        policy = family.policy_of(envs, seed, self.learner.options(config))
        recorder = Recorder(LearningCurve(budget))
        agent = self.learner.agent(policy, envs, config, callbacks=[recorder])
        recorder.curve.start()
        stopped = learnt(agent, budget)
        return {**recorder.curve.found(), "stopped": stopped}


class Recorder(Callback):
    """Takes the scores of every batch, and stops where the curve is done."""

    def __init__(self, curve: LearningCurve) -> None:
        self.curve = curve

    def on_rollout_end(self, agent: Any, rollout: Rollout) -> None:
        """Adds the batch."""
        self.curve.add(rollout.scores.tolist())

    def on_update_end(self, agent: Any, metrics: Mapping[str, float]) -> bool:
        """Says whether to go on."""
        return not self.curve.is_done
