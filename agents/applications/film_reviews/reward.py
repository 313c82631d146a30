"""The log-odds that what was written is from a positive review, as a reward.

It knows a classifier when it is given one; `classifier`, beside it, has the one that is fitted on
film reviews.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.applications.film_reviews.ngram_classifier import NgramClassifier
from text_gym.episode import Episode


@dataclass(frozen=True)
class PositiveReview:
    """Rewards a completion with the log-odds that it is from a positive review, in nats.

    The prompt is not scored. It is not the policy's doing: its words would be a constant in every
    reward of that prompt, and since the classifier divides by the length of the feature vector,
    they would also dilute what the completion says.

    A completion without a known word is paid the classifier's bias, which is near 0.

    Example:
        >>> classifier = NgramClassifier({"fine": 0}, np.ones(1), np.array([2.0]), 0.5)
        >>> reward = PositiveReview(classifier)
        >>> reward([Episode.from_text("This film is", text) for text in (" fine.", " long.")])
        array([2.5, 0.5])
    """

    classifier: NgramClassifier

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the log-odds, shape (n,)."""
        return self.classifier.log_odds([episode.completion for episode in episodes]).total

    def components(self, episodes: Sequence[Episode]) -> dict[str, NDArray[np.float64]]:
        """Returns what praise, blame and the prior add, each of shape (n,)."""
        parts = self.classifier.log_odds([episode.completion for episode in episodes])
        return {"praise": parts.favour, "blame": parts.against, "prior": parts.prior}
