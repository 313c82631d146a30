"""Several reward models as one: the lowest opinion, the cautious mean, or the average of weights.

Where models that were trained alike differ, none of them knows: a policy that is paid by one would
find the texts that this one is wrong about.

Source: Coste et al. 2023, arXiv:2310.02743 (minimum, mean less variance); Ramé et al. 2024,
arXiv:2401.12187 (weights).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from agents.reward_models.reward_model import Floats, RewardModel
from text_gym import Episode


@dataclass(frozen=True)
class RewardEnsemble:
    """Says what completions are worth by several reward models, in batches.

    Attributes:
        models: At least two.
        combine: The minimum of their rewards, or their mean less `caution` times their variance.
        caution: λ of the latter, at least 0; 0: the plain mean.

    Raises:
        ValueError: If there are fewer models, or an option is none of these.
    """

    models: Sequence[RewardModel]
    combine: Literal["minimum", "pessimistic_mean"] = "minimum"
    caution: float = 1.0

    def __post_init__(self) -> None:
        """Checks the options."""
        if len(self.models) < 2:
            raise ValueError(f"models must be at least two, got {len(self.models)}")
        if self.combine not in ("minimum", "pessimistic_mean"):
            raise ValueError(
                f"combine must be 'minimum' or 'pessimistic_mean', got {self.combine!r}"
            )
        if not self.caution >= 0:
            raise ValueError(f"caution must be at least 0, got {self.caution}")

    def __call__(self, episodes: Sequence[Episode]) -> Floats:
        """Returns the rewards of finished texts, (n,)."""
        return self.score(
            [episode.prompt for episode in episodes], [episode.completion for episode in episodes]
        )

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> Floats:
        """Returns the rewards of n completions, (n,)."""
        opinions = self.opinions(prompts, completions)
        if self.combine == "minimum":
            return np.asarray(opinions.min(axis=0))
        return np.asarray(opinions.mean(axis=0) - self.caution * opinions.var(axis=0))

    def opinions(self, prompts: Sequence[str], completions: Sequence[str]) -> Floats:
        """Returns the rewards of n completions by each of m models, (m, n)."""
        return np.stack([model.score(prompts, completions) for model in self.models])


def average_weights(models: Sequence[RewardModel]) -> RewardModel:
    """Returns one model whose weights are the means of those of several, which start alike.

    Its rewards are not quite of mean 0 and variance 1 any more: `normalized` makes them so.

    Raises:
        ValueError: If there are none, or they are not of the same parts or do not read alike.
    """
    if not models:
        raise ValueError("models must be at least one, got none")
    states = [model.network.state_dict() for model in models]
    shapes = [{name: part.shape for name, part in state.items()} for state in states]
    read = {(model.reader.template, model.reader.max_length) for model in models}
    if any(one != shapes[0] for one in shapes) or len(read) > 1:
        raise ValueError(
            f"models must be of the same weights and read alike, got templates and lengths {read}"
        )
    network = models[0].network.plain_copy()
    network.load_state_dict(
        {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]}
    )
    ties = [model.tie_log_odds for model in models if model.tie_log_odds is not None]
    return dataclasses.replace(
        models[0],
        network=network,
        offset=float(np.mean([model.offset for model in models])),
        nats=float(np.mean([model.nats for model in models])),
        tie_log_odds=float(np.mean(ties)) if ties else None,
    )
