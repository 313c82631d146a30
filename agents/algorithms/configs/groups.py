"""The hyperparameters of algorithms that compare the episodes of one prompt: RLOO and GRPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.algorithms.configs.policy_gradient import PolicyGradientConfig


@dataclass(frozen=True, kw_only=True)
class GroupConfig(PolicyGradientConfig):
    """Sets how many episodes of a prompt are compared.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    group_size: int = 8
    """Episodes of each prompt."""
    normalize_advantage: bool = False
    """Scales and shifts advantages to mean 0 and variance 1 over the tokens of the batch."""

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        self._require("group_size", "at least 2", self.group_size >= 2)
        divides = self.n_episodes % self.group_size == 0
        self._require("group_size", f"a divisor of n_episodes={self.n_episodes}", divides)


@dataclass(frozen=True, kw_only=True)
class RLOOConfig(GroupConfig):
    """Sets how RLOO moves: by default one pass of plain policy gradient over each batch.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    n_epochs: int = 1
    """Passes over the episodes per update."""
    clip_range: float = 0.2
    """Ratios of whole texts' probabilities count within [1 - clip_range, 1 + clip_range]; without
    effect on the first step of an update."""
    risk_sharpness: float | None = None
    """Weighs the distinct texts of a prompt by their probability to this power, as minimum-risk
    training does (Shen et al. 2016, arXiv:1512.02433, who use 0.005); None: as they were drawn."""

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        self._require("clip_range", "in (0, 1)", 0 < self.clip_range < 1)
        sharpness = self.risk_sharpness
        rule = "None or at least 0"
        self._require("risk_sharpness", rule, sharpness is None or sharpness >= 0)


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(GroupConfig):
    """Sets GRPO and the algorithms that grew from it.

    Defaults are the paper's (Shao et al. 2024, arXiv:2402.03300). Dr. GRPO (arXiv:2503.20783):
    `scale_by="nothing", aggregation="constant"`. DAPO (arXiv:2503.14476): `clip_range_high=0.28,
    aggregation="token", kl_coef=0, max_redraws=…, filter_truncated=True`. GSPO (arXiv:2507.18071):
    `ratio="sequence", clip_range=3e-4, clip_range_high=4e-4`. CISPO (arXiv:2506.13585):
    `ratio="clipped_weight"`.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    n_epochs: int = 1
    """Passes over the episodes per update."""
    kl_in: Literal["reward", "loss"] = "loss"
    """Where KL is paid, as in `PolicyGradientConfig`."""
    kl_estimator: Literal["k1", "k2", "k3", "exact"] = "k3"
    """Of the KL in the loss, as in `PolicyGradientConfig`."""
    scale_by: Literal["group", "batch", "nothing"] = "group"
    """Whose standard deviation advantages are divided by. By the group's, prompts whose rewards
    hardly differ weigh as much as any other, and the objective is no longer the mean reward."""
    aggregation: Literal["token", "sequence", "constant"] = "sequence"
    """Whether each token weighs the same, each text, or each token of `max_tokens`, however long
    the texts of a step are."""
    max_tokens: int = 32
    """Divides the loss of a text with `aggregation="constant"`: most tokens of a completion."""
    ratio: Literal["token", "sequence", "clipped_weight"] = "token"
    """What is clipped: each token's probability ratio, that of a text (its geometric mean, GSPO),
    or the importance weight of a token, whose gradient is never cut (CISPO)."""
    clip_range: float = 0.2
    """Ratios count within [1 - clip_range, 1 + clip_range]."""
    clip_range_high: float | None = None
    """Upper side of the clip, if different; the bound of CISPO's weights is 1 + this."""
    filter_truncated: bool = False
    """Gives texts that were cut off no advantage (overlong filtering). They still count in the mean
    of their group, in what the loss is divided by, and in the KL of the loss."""
    max_redraws: int = 0
    """Batches that are drawn at most, beyond the first, in place of groups whose rewards are all
    equal (dynamic sampling). What is still missing then stays."""

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        self._require("max_tokens", "at least 1", self.max_tokens >= 1)
        self._require("max_redraws", "at least 0", self.max_redraws >= 0)
        self._require("clip_range", "in (0, 1)", 0 < self.clip_range < 1)
        self._require_none_or_positive("clip_range_high")
