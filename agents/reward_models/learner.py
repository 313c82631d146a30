"""How a reward is learnt: it makes likely what people preferred, and comes near what they rated.

Minimises (1/n) Σ w L over the n examples of a step. L is -log P of what was said of a comparison,
by Davidson's model with the difference of the rewards as log-odds, less a margin if asked for; of a
rating it is `rating_coef` times half of the squared error.

Source: Ziegler et al. 2019, arXiv:1909.08593; Ouyang et al. 2022, arXiv:2203.02155, equation 1;
ties as in Davidson 1970.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.algorithms.diagnostics import Statistic, Statistics
from agents.algorithms.experience import StepTotals
from agents.algorithms.offline import Offline
from agents.callbacks import Callback
from agents.objectives.reward_losses import comparison_losses, rating_losses
from agents.reward_models.examples import Feedback
from agents.reward_models.network import RewardNetwork
from agents.reward_models.reading import Reader
from agents.reward_models.reward_model import RewardModel


class RewardLearner(Offline[RewardModelConfig, Feedback, RewardNetwork]):
    """Trains a reward network on comparisons and ratings.

    Args:
        policy: The network to train, in place.
        examples: What to learn from, at least one.
        config: The hyperparameters.
        heldout: What is evaluated after every epoch, and never learnt from; None: nothing.
        callbacks: Called at fixed points; every optimiser step is an update.
    """

    config_class = RewardModelConfig

    def __init__(
        self,
        policy: RewardNetwork,
        examples: Feedback,
        config: RewardModelConfig | None = None,
        *,
        heldout: Feedback | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        n_compared, n_ties = int(examples.compared.sum()), int(examples.ties.sum())
        self.has_ties = any(bool(one.ties.any()) for one in (examples, heldout) if one is not None)
        if self.has_ties:
            policy.learn_ties((n_ties + 0.5) / (n_compared + 1))
        if 0 < n_compared < len(examples):
            policy.learn_slope()
        super().__init__(policy, examples, config, heldout=heldout, callbacks=callbacks)

    def loss(self, batch: Feedback, totals: StepTotals) -> tuple[Tensor, Statistics]:
        """Adds up the losses of comparisons and ratings."""
        rewards, compared = self.policy(batch.texts), batch.compared
        weights = batch.weights.to(rewards.dtype)
        first = rewards[batch.first]
        differences = (first - rewards[batch.second])[compared]
        ties, ratings = batch.ties[compared], batch.ratings.to(rewards.dtype)[~compared]
        margins = batch.margins.to(rewards.dtype)[compared] * self.config.margin_coef
        said = comparison_losses(
            differences - margins, ties if self.has_ties else None, self.policy.tie_log_odds
        )
        rated = rating_losses(first[~compared], ratings, self.policy.slope)
        loss = (weights[compared] * said).sum()
        loss = loss + self.config.rating_coef * (weights[~compared] * rated).sum()
        decided = differences.detach()[~ties]
        return loss / totals.n_episodes, {
            "decided": Statistic(len(decided)),
            "right": Statistic(float((decided > 0).sum() + 0.5 * (decided == 0).sum())),
            "rated": Statistic(len(rated)),
            "squared_error": Statistic(2 * float(rated.detach().sum())),
        }

    def _read(self, batch: Feedback, *, learn: bool) -> Statistics:
        """Adds accuracy, and the share of the ratings' variance that is explained, to the loss."""
        step = super()._read(batch, learn=learn)
        decided, rated = step.pop("decided").value, step.pop("rated").value
        right, squared_error = step.pop("right").value, step.pop("squared_error").value
        if decided:
            step["accuracy"] = Statistic(right / decided)
        if rated:
            step["rating_error"] = Statistic((squared_error / rated) ** 0.5)
        return step

    def reward_model(self, reader: Reader) -> RewardModel:
        """Returns what was learnt, normalised over the texts that it was learnt from.

        Args:
            reader: That made the examples.

        Raises:
            ValueError: If all of them are worth the same.
        """
        tie_log_odds = self.policy.tie_log_odds.item() if self.has_ties else None
        learnt = RewardModel(self.policy, reader, tie_log_odds=tie_log_odds)
        return learnt.normalized_over(self.examples.texts)
