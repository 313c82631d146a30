"""A linear classifier of texts by their words and pairs of words, in plain numpy.

scikit-learn fits it; applying it takes a dictionary and a sum, so that scoring needs no
scikit-learn, and a saved classifier is numbers and words: nothing that could run. It knows nothing
of reviews or rewards.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

_WORD = re.compile(r"\b\w\w+\b")
_WEIGHTS_FILE, _GRAMS_FILE = "weights.safetensors", "grams.json"


class LogOdds(NamedTuple):
    """Holds the log-odds of n texts, in nats, in parts that add up to them.

    Attributes:
        favour: What words for the class add, (n,), at least 0.
        against: What words against it add, (n,), at most 0.
        prior: The log-odds of a text without a known word, (n,).
    """

    favour: NDArray[np.float64]
    against: NDArray[np.float64]
    prior: NDArray[np.float64]

    @property
    def total(self) -> NDArray[np.float64]:
        """The log-odds, (n,)."""
        total: NDArray[np.float64] = self.favour + self.against + self.prior
        return total


@dataclass(frozen=True, eq=False)
class NgramClassifier:
    """Gives the log-odds that a text belongs to a class: w · x / |x| + b.

    x holds, for every known word and pair of neighbouring words, (1 + log count) times its inverse
    document frequency (Salton and Buckley 1988, https://doi.org/10.1016/0306-4573(88)90021-0, as
    scikit-learn's `TfidfVectorizer(sublinear_tf=True)` computes it); the division by the length of
    x makes short and long texts comparable. A word has two characters at least, as there.

    Args:
        grams: Number of each known word and pair, the pair's words joined by a space.
        idf: Inverse document frequencies, (F,).
        weights: w, (F,).
        bias: b.
    """

    grams: Mapping[str, int]
    idf: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: float

    def log_odds(self, texts: Sequence[str]) -> LogOdds:
        """Returns the log-odds of n texts.

        Example:
            >>> grams = {"good": 0, "not good": 1}
            >>> classifier = NgramClassifier(grams, np.ones(2), np.array([2.0, -3.0]), 0.5)
            >>> classifier.log_odds(["Good!", "A chair."]).total
            array([2.5, 0.5])
        """
        parts = np.array([self._parts(text) for text in texts]).reshape(-1, 2)
        return LogOdds(parts[:, 0], parts[:, 1], np.full(len(parts), self.bias))

    def _parts(self, text: str) -> tuple[float, float]:
        counts = Counter(self.grams[gram] for gram in ngrams(text) if gram in self.grams)
        if not counts:
            return 0.0, 0.0
        index = np.fromiter(counts, dtype=np.int64)
        count = np.fromiter(counts.values(), dtype=np.float64)
        features = (1 + np.log(count)) * self.idf[index]
        terms = features * self.weights[index] / np.sqrt(features @ features)
        return float(terms[terms > 0].sum()), float(terms[terms < 0].sum())

    def save(self, folder: Path) -> None:
        """Writes two files, which `load` reads, to a folder."""
        arrays = {"idf": self.idf, "weights": self.weights, "bias": np.array([self.bias])}
        save_file(arrays, folder / _WEIGHTS_FILE)
        in_order = sorted(self.grams, key=self.grams.__getitem__)
        (folder / _GRAMS_FILE).write_text(
            json.dumps(in_order, ensure_ascii=False), encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path) -> NgramClassifier:
        """Reads what `save` wrote.

        Raises:
            ValueError: If the two files do not belong together.
        """
        arrays = load_file(folder / _WEIGHTS_FILE)
        in_order = json.loads((folder / _GRAMS_FILE).read_text(encoding="utf-8"))
        idf, weights = arrays["idf"], arrays["weights"]
        if not len(in_order) == len(idf) == len(weights):
            raise ValueError(
                f"{folder} must hold as many words as weights, got {len(in_order)}, {len(idf)}, "
                f"{len(weights)}"
            )
        grams = {gram: number for number, gram in enumerate(in_order)}
        return cls(grams, idf, weights, float(arrays["bias"][0]))

    def __deepcopy__(self, memo: dict[int, object]) -> NgramClassifier:
        """Returns itself: it never changes, and environment specs are deep-copied."""
        return self


def ngrams(text: str) -> list[str]:
    """Returns the words of a text in lower case, then its pairs of neighbouring words.

    Example:
        >>> ngrams("It's not a good film.")
        ['it', 'not', 'good', 'film', 'it not', 'not good', 'good film']
    """
    words = _WORD.findall(text.lower())
    return words + [f"{one} {two}" for one, two in pairwise(words)]


def fit(
    texts: Sequence[str], labels: Sequence[bool], *, smallest_count: int, inverse_penalty: float
) -> NgramClassifier:
    """Fits a logistic regression on the words and pairs of texts.

    Args:
        texts: n texts.
        labels: Whether each belongs to the class, n of them.
        smallest_count: Texts that a word or pair must occur in to count.
        inverse_penalty: C of scikit-learn: large trusts the texts, small keeps weights small.

    Raises:
        ModuleNotFoundError: If scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "fitting a classifier needs scikit-learn, which is not installed: "
            "pip install 'text-gym[reviews]'"
        ) from error
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=smallest_count, sublinear_tf=True)
    features = vectorizer.fit_transform(texts)
    regression = LogisticRegression(C=inverse_penalty, max_iter=1000).fit(features, labels)
    return NgramClassifier(
        grams={gram: int(number) for gram, number in vectorizer.vocabulary_.items()},
        idf=np.asarray(vectorizer.idf_, dtype=np.float64),
        weights=np.asarray(regression.coef_[0], dtype=np.float64),
        bias=float(regression.intercept_[0]),
    )
