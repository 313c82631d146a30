"""The hyperparameters of PPO, with the names of Stable-Baselines3."""

from __future__ import annotations

from dataclasses import dataclass

from agents.algorithms.configs.policy_gradient import PolicyGradientConfig


@dataclass(frozen=True, kw_only=True)
class PPOConfig(PolicyGradientConfig):
    """Sets how PPO assigns credit and how far an update goes.

    Defaults as in `PolicyGradientConfig`.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    gamma: float = 1.0
    """Discount per token. Below 1, long texts are worth less for being long."""
    gae_lambda: float = 0.95
    """GAE's λ: 0 trusts the values, 1 the rewards."""
    clip_range: float = 0.2
    """Policy ratios count within [1 - clip_range, 1 + clip_range]."""
    clip_range_high: float | None = None
    """Upper side of the clip, if different (DAPO, arXiv:2503.14476, uses 0.28)."""
    dual_clip: float | None = None
    """Bounds the loss of a token with negative advantage at this multiple of it (arXiv:1912.09729
    uses 3); None: unbounded."""
    clip_range_vf: float | None = None
    """How far values may move per update, in units of reward; None: freely (SB3's default)."""
    vf_coef: float = 0.1
    """Weight of the value loss. Small, because value head and policy share the trunk."""
    whiten_rewards: bool = False
    """Scales rewards, KL penalty included, to variance 1 over the batch, without shifting them."""

    @property
    def learns_values(self) -> bool:
        """Whether a value function is trained."""
        return True

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        for name in ("gamma", "gae_lambda"):
            self._require(name, "in [0, 1]", 0 <= getattr(self, name) <= 1)
        self._require("vf_coef", "at least 0", self.vf_coef >= 0)
        self._require_none_or_positive("clip_range_high", "clip_range_vf")
        self._require("clip_range", "in (0, 1)", 0 < self.clip_range < 1)
        dual = self.dual_clip
        self._require("dual_clip", "None or above 1", dual is None or dual > 1)
