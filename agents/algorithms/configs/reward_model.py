"""The hyperparameters of reward models."""

from __future__ import annotations

from dataclasses import dataclass

from agents.algorithms.configs.offline import OfflineConfig


@dataclass(frozen=True, kw_only=True)
class RewardModelConfig(OfflineConfig):
    """Sets how a reward is learnt from preferences and ratings.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    learning_rate: float = 5e-4
    """Of Adam. Fits models of a few million parameters; for adapters 1e-4, for larger models that
    learn as a whole 1e-5."""
    n_epochs: int = 1
    """Passes over what was said, each in an order of its own. A second one learns its noise."""
    batch_size: int = 16
    """Examples per optimiser step."""
    margin_coef: float = 0.0
    """Times a pair's margin: by how much the preferred text's reward is to exceed the other's, in
    nats (Llama 2, arXiv:2307.09288). 0: margins do not count, and the odds stay those of the
    judgements."""
    rating_coef: float = 1.0
    """How much a rating counts beside a preference: times half of its squared error, in standard
    deviations of all ratings."""

    def __post_init__(self) -> None:
        """Checks every field against its rule."""
        super().__post_init__()
        self._require("margin_coef", "at least 0", self.margin_coef >= 0)
        self._require("rating_coef", "above 0", self.rating_coef > 0)
