"""The hyperparameters of Stable-Baselines3's PPO, in our terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.algorithms.configs.ppo import PPOConfig


@dataclass(frozen=True, kw_only=True)
class SB3PPOConfig(PPOConfig):
    """Sets what Stable-Baselines3's PPO learns with, on toy vocabularies and without a KL penalty.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    network: Literal["mlp", "transformer"] = "mlp"
    """An MLP on one-hots of the whole text, or the model as features extractor."""
