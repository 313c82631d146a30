"""Whether one system's texts are nearer to the references than another's: the paired bootstrap.

The figures are of all texts together, so that their differences have no interval but this one. Who
wrote the texts is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from text_gym.metrics.overlap import sacrebleu_package

CorpusMetric = Literal["bleu", "chrf"]


class Difference(NamedTuple):
    """Holds a figure of two systems and by how much the first is above the second.

    Attributes:
        ours: Of the first system, from 0 to 100.
        theirs: Of the second.
        low: Lower end of the 95 % interval of `ours - theirs`.
        high: Its upper end.
    """

    ours: float
    theirs: float
    low: float
    high: float


def paired_bootstrap(
    metric: CorpusMetric,
    ours: Sequence[str],
    theirs: Sequence[str],
    references: Sequence[str],
    np_random: np.random.Generator,
    resamples: int = 1_000,
) -> Difference:
    """Compares two systems on the same sentences, drawn again and again with replacement.

    The interval is that of percentiles. Source: Koehn 2004, "Statistical significance tests for
    machine translation evaluation", https://aclanthology.org/W04-3250.

    Args:
        metric: `"bleu"` or `"chrf"`, as `text_gym.metrics` has them.
        ours: At least one text.
        theirs: One to each of the same sources.
        references: One for each.
        np_random: Draws the sentences.
        resamples: How often, at least 1.

    Raises:
        ModuleNotFoundError: If the package `sacrebleu` is not installed.
        ValueError: If the texts are not as many, or none, or `resamples` is below 1.

    Example:
        >>> expected = ["the cat sat on the mat", "a dog barked at the moon"]
        >>> worse = ["the cat sat", "a dog"]
        >>> rng = np.random.default_rng(0)
        >>> ours, theirs, low, high = paired_bootstrap("chrf", expected, worse, expected, rng)
        >>> ours, theirs < 50 < low, high < 100
        (100.0, True, True)
    """
    if not len(ours) == len(theirs) == len(references) > 0:
        raise ValueError(
            "ours, theirs and references must be equally many and at least one, got "
            f"{len(ours)}, {len(theirs)} and {len(references)}"
        )
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    package = sacrebleu_package()
    scorer = package.BLEU() if metric == "bleu" else package.CHRF()
    counts = [_counts(scorer, texts, references) for texts in (ours, theirs)]
    share = np.full(len(ours), 1 / len(ours))
    drawn = np_random.multinomial(len(ours), share, size=resamples)
    scores = [_scores(scorer, drawn @ count) for count in counts]
    low, high = np.quantile(scores[0] - scores[1], (0.025, 0.975))
    first, second = (
        float(_scores(scorer, count.sum(axis=0, keepdims=True))[0]) for count in counts
    )
    return Difference(first, second, float(low), float(high))


def _counts(scorer: Any, texts: Sequence[str], references: Sequence[str]) -> NDArray[np.int64]:
    """Returns what a corpus figure is computed from, of each text: matches and lengths, (n, k)."""
    return np.array(scorer._extract_corpus_statistics(texts, [references]), dtype=np.int64)


def _scores(scorer: Any, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the figure of each row of counts that were added up, (r,)."""
    return np.array([scorer._compute_score_from_stats(row.tolist()).score for row in counts])
