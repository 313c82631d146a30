"""What every policy-gradient algorithm can be told: how episodes are collected and steps taken.

Imports no torch, so that a command line can be built from it and print its help at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.algorithms.configs.steps import StepsConfig


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(StepsConfig):
    """Sets how episodes are collected and how parameters move.

    Defaults follow Ziegler et al. 2019 (arXiv:1909.08593) and its code,
    openai/lm-human-preferences, as documented in "The N Implementation Details of RLHF with PPO"
    (Huang et al. 2023), unless a field says otherwise. Lengths of time are in tokens and episodes,
    KL is in nats.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    n_episodes: int = 256
    """Episodes collected per update; at least the number of environments."""
    n_epochs: int = 4
    """Passes over the episodes per update."""
    batch_size: int = 64
    """Episodes per optimiser step."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    target_kl: float | None = None
    """Stops the epochs of an update once the KL per token from the sampling policy exceeds 1.5
    times this (SB3); None: never."""
    kl_coef: float = 0.05
    """Price of a nat of KL from the reference, in units of reward (Huang et al. 2024,
    arXiv:2403.17031)."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Where it is paid. In the reward, as log π - log π_ref of every token, the gradient is exactly
    that of the KL between whole texts. In the loss it acts on each token where it stands, and what
    a token does to the KL of later ones is left out."""
    kl_estimator: Literal["k1", "k2", "k3", "exact"] = "k2"
    """Of the KL in the loss. At the policy that sampled, the expected gradient of k1 is 0, of k2
    that of the KL, of k3 that of the KL the other way round; `exact` sums over the vocabulary,
    without noise, at the price of the reference's logits. Not used where KL is in the reward."""
    kl_target: float | None = None
    """KL per completion that an adaptive controller steers `kl_coef` towards; None: fixed."""
    kl_horizon: float = 10_000
    """Episodes in which the adaptive controller's largest error moves `kl_coef` by a fifth."""
    normalize_advantage: bool = True
    """Scales and shifts advantages to mean 0 and variance 1 over the tokens of the batch."""

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        self._require("n_episodes", "at least 1", self.n_episodes >= 1)
        self._require("kl_horizon", "above 0", self.kl_horizon > 0)
        for name in ("ent_coef", "kl_coef"):
            self._require(name, "at least 0", getattr(self, name) >= 0)
        self._require_none_or_positive("target_kl", "kl_target")
        at_most = f"at most n_episodes={self.n_episodes}"
        self._require("batch_size", at_most, self.batch_size <= self.n_episodes)
        if self.kl_target is not None:
            self._require("kl_coef", "above 0 where kl_target is given", self.kl_coef > 0)
            smallest = 0.2 * self.n_episodes  # or one update could take kl_coef to 0
            self._require("kl_horizon", f"above {smallest}", self.kl_horizon > smallest)

    @property
    def learns_values(self) -> bool:
        """Whether a value function is trained. If not, the policy must have none."""
        return False

    @property
    def learns_action_values(self) -> bool:
        """Whether it is one of states and tokens; see `PolicyConfig.action_values`."""
        return False
