"""Who takes part in `benchmarks/efficiency.py`, with one setting for all toys.

Settings are the best of a small grid each (`settings_grid.py`), on counting up and sorting with
seed 100, which no figure holds. Those of the fastest of ours were found there in a few trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sb3_contrib import TRPO as ContribTRPO
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C
from stable_baselines3 import PPO as SB3PPO

from agents import ACER, GRPO, PPO, REINFORCE, RLOO, TRPO, ExpertIteration, TrajectoryBalance
from benchmarks.learner import Learner
from benchmarks.sb3_learner import SB3Learner
from benchmarks.toy_learner import ToyLearner
from benchmarks.trl_learner import TRLLearner


class Contestant(Protocol):
    """What learns: `ToyLearner`, `SB3Learner` or `TRLLearner`."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def plain(self) -> dict[str, Any]:
        """Returns all that a run depends on, in plain values."""
        ...

    def but(self, **settings: Any) -> Contestant:
        """Returns the same with some other settings."""
        ...

    def run(self, toy: str, seed: int, budget: int) -> dict[str, Any]:
        """Lets it learn, and returns `LearningCurve.found()`."""
        ...


SHARED: Mapping[str, Any] = {
    "n_episodes": 64,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "lr_schedule": "constant",
    "kl_coef": 0.0,
}
"""Of ours."""
_GROUPS = {"learning_rate": 1e-3, "n_epochs": 4, "ent_coef": 0.002}
_DR_GRPO = {"scale_by": "nothing", "aggregation": "constant", "max_tokens": 5}


def _ours(name: str, algorithm: Any, group_size: int = 0, **settings: Any) -> ToyLearner:
    return ToyLearner(Learner(name, algorithm, settings, group_size), SHARED)


BEST = _ours(
    "trajectory balance",
    TrajectoryBalance,
    group_size=8,
    n_episodes=32,
    batch_size=32,
    kl_coef=0.03,
    replay_size=64,
    replay_ratio=8,
)
"""What needs the fewest texts."""
FASTEST = _ours(
    "trajectory balance, larger batches",
    TrajectoryBalance,
    group_size=8,
    n_episodes=128,
    batch_size=128,
    learning_rate=6e-3,
    kl_coef=0.03,
    replay_size=64,
    replay_ratio=16,
)
"""What needs the fewest seconds, and what rivals' are held against."""
OURS = (
    BEST,
    FASTEST,
    _ours("Dr. GRPO", GRPO, 8, **_GROUPS, **_DR_GRPO),
    _ours(
        "PPO",
        PPO,
        learning_rate=1e-3,
        n_epochs=10,
        ent_coef=0.01,
        gae_lambda=1.0,
        vf_coef=1.0,
    ),
    _ours("RLOO", RLOO, 8, learning_rate=1e-3, n_epochs=4, ent_coef=0.02),
    _ours("ACER", ACER, learning_rate=1e-3, ent_coef=0.02, replay_size=32, replay_ratio=8),
    _ours("GRPO", GRPO, 8, **_GROUPS),
    _ours("REINFORCE", REINFORCE, ent_coef=0.1),
    _ours("REINFORCE++", REINFORCE, baseline="batch_mean", ent_coef=0.02),
    _ours("expert iteration", ExpertIteration, 8, learning_rate=1e-3, n_epochs=4, kl_coef=0.03),
    _ours("TRPO", TRPO, max_kl=0.1, cg_iterations=10, n_epochs=4),
)


def _sb3(name: str, algorithm: Any, **settings: Any) -> SB3Learner:
    return SB3Learner(name, algorithm, {"gamma": 1.0, **settings})


_SB3_PPO: Mapping[str, Any] = {
    "learning_rate": 3e-3,
    "n_steps": 32,
    "batch_size": 128,
    "n_epochs": 10,
    "ent_coef": 0.01,
}
SB3 = (
    _sb3("SB3 PPO", SB3PPO, **_SB3_PPO),
    _sb3("SB3 A2C", A2C, learning_rate=3e-3, n_steps=5, ent_coef=0.01),
    _sb3("sb3-contrib TRPO", ContribTRPO, n_steps=32, target_kl=0.05),
    # No toy restricts its tokens: without masks it is PPO, step for step.
    _sb3("sb3-contrib MaskablePPO", MaskablePPO, **_SB3_PPO)._replace(learn={"use_masking": False}),
)
SB3_TRANSFORMER = _sb3(
    "SB3 PPO, transformer", SB3PPO, **{**_SB3_PPO, "learning_rate": 1e-3, "n_epochs": 4}
)._replace(network="transformer")


def trl_learners(ppo: Path | None, latest: Path | None) -> tuple[TRLLearner, ...]:
    """Returns those of TRL for which there is an interpreter.

    Args:
        ppo: That has TRL 1.12.0, the last release with PPO.
        latest: That has 1.16.0.
    """
    batch = {"per_device_train_batch_size": 64, "learning_rate": 1e-3}
    found = []
    if ppo is not None:
        settings = {**batch, "num_mini_batches": 1, "num_ppo_epochs": 8, "kl_coef": 0.0}
        found.append(TRLLearner("TRL PPO", ppo, "1.12.0", "ppo", settings))
    if latest is not None:
        groups = {**batch, "num_generations": 8, "num_iterations": 4}
        found += [
            TRLLearner("TRL GRPO", latest, "1.16.0", "grpo", groups),
            TRLLearner("TRL RLOO", latest, "1.16.0", "rloo", {**groups, "learning_rate": 3e-3}),
        ]
    return tuple(found)
