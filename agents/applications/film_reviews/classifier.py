"""The classifier of film reviews: fitted once on their training half, kept in the cache folder.

The held-out half says how good it is. Training and evaluation of a policy are paid by this same
classifier, for prompts of different halves. It knows texts and labels, but no episodes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.applications.film_reviews.ngram_classifier import NgramClassifier, fit
from agents.applications.film_reviews.reviews import Review, read_reviews, reviews_of
from agents.fetching.cache import fill_once
from agents.fetching.film_reviews import REVIEWS_FILE
from agents.fetching.items import FILM_REVIEWS, require

SMALLEST_COUNT = 2
INVERSE_PENALTY = 10.0
"""Of 1, 3, 10 and 30, fitted on three quarters of the training half, this one has the smallest log
loss on the sentences of the fourth, which are as long as completions: its log-odds mean what they
say."""
FIGURES_FILE = "heldout.json"
_RECIPE = 1
"""Part of the folder's name: to be raised with any change of what is fitted, and how."""


def film_review_classifier() -> NgramClassifier:
    """Returns the classifier, from the cache folder or fitted now (about ten seconds).

    Raises:
        FileNotFoundError: If the reviews were not fetched.
        ModuleNotFoundError: If it must be fitted and scikit-learn is not installed.
    """
    return load(classifier_folder())


def classifier_folder() -> Path:
    """Returns the folder of the classifier and of its held-out figures; fits it if absent."""
    reviews = require(FILM_REVIEWS)
    folder = reviews.with_name(f"{reviews.name}-classifier-{_RECIPE}")
    if not folder.is_dir():
        fill_once(folder, partial(_fit, read_reviews(reviews / REVIEWS_FILE)))
    return folder


def heldout_figures(classifier: NgramClassifier, reviews: Sequence[Review]) -> dict[str, Any]:
    """Returns accuracy, area under the ROC curve and log loss of labelled texts, by source."""
    figures: dict[str, Any] = {}
    for source in dict.fromkeys(review.source for review in reviews):
        part = [review for review in reviews if review.source == source]
        log_odds = classifier.log_odds([review.text for review in part]).total
        positive = np.array([review.positive for review in part])
        figures[source] = {
            "texts": len(part),
            "accuracy": float(np.mean((log_odds > 0) == positive)),
            "auc": area_under_curve(log_odds[positive], log_odds[~positive]),
            "log_loss": float(np.logaddexp(0, np.where(positive, -log_odds, log_odds)).mean()),
        }
    return figures


def area_under_curve(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Returns how often a positive scores above a negative, ties counted half.

    Example:
        >>> area_under_curve(np.array([2.0, 1.0]), np.array([1.0, 0.0]))
        0.875
    """
    in_order = np.sort(negative)
    below = np.searchsorted(in_order, positive, side="left")
    not_above = np.searchsorted(in_order, positive, side="right")
    return float((below + not_above).mean() / (2 * len(negative)))


@cache
def load(folder: Path) -> NgramClassifier:
    """Reads a classifier, once per process: training and evaluation share it."""
    return NgramClassifier.load(folder)


def _fit(reviews: Sequence[Review], folder: Path) -> None:
    train = reviews_of(reviews, "train")
    classifier = fit(
        [review.text for review in train],
        [review.positive for review in train],
        smallest_count=SMALLEST_COUNT,
        inverse_penalty=INVERSE_PENALTY,
    )
    classifier.save(folder)
    figures = heldout_figures(classifier, reviews_of(reviews, "heldout"))
    (folder / FIGURES_FILE).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
