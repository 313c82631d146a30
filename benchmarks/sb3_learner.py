"""How one algorithm of Stable-Baselines3 or sb3-contrib is told to learn a toy task.

The algorithms are theirs, untouched, with their own networks on one-hots of the whole text or, as
features extractor, the transformer that ours learn with. Texts are written by the toy tasks' native
vector environment. Knows nothing of our own algorithms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from agents import PolicyConfig
from agents.sb3_baseline.features import LastHiddenState, OneHotTexts
from agents.sb3_baseline.gymnasium_vec_env import GymnasiumVecEnv
from benchmarks import family
from benchmarks.learning_curve import LearningCurve

Network = Literal["mlp", "transformer"]
FOREVER = 2**31
"""Steps: the curve says when it is enough."""


class SB3Learner(NamedTuple):
    """Says how one algorithm learns.

    Attributes:
        name: In figures.
        algorithm: What learns.
        settings: Its keyword arguments.
        num_envs: Environments side by side.
        network: `"mlp"`: its own, on one-hots; `"transformer"`: one layer on the last hidden state.
        learn: Keyword arguments of `learn`.
    """

    name: str
    algorithm: type[BaseAlgorithm]
    settings: Mapping[str, Any]
    num_envs: int = 16
    network: Network = "mlp"
    learn: Mapping[str, Any] = {}

    def plain(self) -> dict[str, Any]:
        """Returns all that a run depends on, in plain values."""
        return {**self._asdict(), "algorithm": self.algorithm.__name__}

    def but(self, **settings: Any) -> SB3Learner:
        """Returns the same learner with some other settings."""
        return self._replace(settings={**self.settings, **settings})

    def run(self, toy: str, seed: int, budget: int) -> dict[str, Any]:
        """Lets it learn a toy task until its curve is done, and returns that in plain values."""
        envs = family.envs_of(toy, self.num_envs)
        model: Any = self.algorithm
        with torch.random.fork_rng():  # SB3 seeds the global random states, and draws from them
            agent = model(
                "MultiInputPolicy",
                GymnasiumVecEnv(envs),
                policy_kwargs=network_arguments(self.network, envs, seed),
                device="cpu",
                seed=seed,
                **self.settings,
            )
            recorder = Recorder(LearningCurve(budget))
            agent.learn(FOREVER, callback=recorder, **self.learn)
        return recorder.curve.found()


class Recorder(BaseCallback):
    """Takes the scores of finished texts, and stops where the curve is done."""

    def __init__(self, curve: LearningCurve) -> None:
        super().__init__()
        self.curve = curve

    def _on_step(self) -> bool:
        finished = np.flatnonzero(self.locals["dones"])
        if finished.size:
            self.curve.add(self.locals["rewards"][finished].tolist())
        return not self.curve.is_done


def network_arguments(
    network: Network, envs: VectorEnv[Any, Any, Any], seed: int
) -> dict[str, Any]:
    """Returns `policy_kwargs`."""
    policy = family.policy_of(envs, seed, PolicyConfig())
    if network == "mlp":
        return {
            "features_extractor_class": OneHotTexts,
            "features_extractor_kwargs": {"vocab_size": policy.vocab_size},
        }
    return {
        "features_extractor_class": LastHiddenState,
        "features_extractor_kwargs": {"policy": policy},
        "net_arch": [],
        "ortho_init": False,  # which would draw the trunk's weights anew
    }
