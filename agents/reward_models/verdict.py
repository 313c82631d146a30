"""How good a reward model is, on what people said that it did not learn from: `check`.

Shares of comparisons with Wilson's intervals, which take every comparison for one of its own: where
a prompt or a text is compared many times they are too narrow. Knows neither files nor pages.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from agents.supervised.pair_files import Preference, Rating
from text_gym import Episode
from text_gym.feedback.agreement.pairwise import pair_counts
from text_gym.feedback.proportion import Interval, normal_quantile, wilson

Floats = NDArray[np.float64]
Text = tuple[str, str]
"""A prompt and a completion."""

_BINS = 10
_LENGTHS = 5
_FOUR = 4


class Scorer(Protocol):
    """What is checked: a reward model."""

    @property
    def nats(self) -> float:
        """Log-odds of a preference for a unit of reward."""

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> Floats:
        """Returns the rewards of n completions, (n,)."""


class Share(NamedTuple):
    """Holds how often the model was right about n comparisons, or prompts, of one kind."""

    name: str
    n: int
    right: Interval


class Bin(NamedTuple):
    """Holds comparisons of which the model was about equally sure.

    Attributes:
        predicted: The mean probability that it gave to its own side.
        right: How often that was the side that was preferred.
        n: How many there are.
    """

    predicted: float
    right: Interval
    n: int


@dataclass(frozen=True)
class RewardModelVerdict:
    """Holds how good a reward model is. What could not be told is None, or empty.

    Attributes:
        n_comparisons: With a winner.
        n_ties: Without; only counted.
        accuracy: How often the model prefers what was preferred; half for equal rewards.
        agreement: How often two answers about the same two texts agree.
        ceiling: How often any model could agree with one answer, at most: (1 + √(2A − 1))/2 with A
            the agreement, and less where some pairs are clearer than others.
        best_of_4: How often the model puts the best of four first, where one was preferred to three
            others; by chance 0.25.
        gold: How often the model orders two completions as a known reward does.
        gold_best_of_4: How often it puts first what is best of four by the known reward.
        calibration: From the least sure to the surest, each of a tenth of the comparisons.
        calibration_error: Mean distance of the share that is right from the probability that was
            given, weighted by comparisons.
        by_length: From where the preferred text is much shorter to where it is much longer.
        by_side: Where the preferred text was shown.
        rating_correlation: Spearman's, with the ratings.
        n_ratings: How many there are.
    """

    n_comparisons: int
    n_ties: int
    accuracy: Interval | None
    agreement: Interval | None
    ceiling: Interval | None
    best_of_4: Share | None
    gold: Share | None
    gold_best_of_4: Share | None
    calibration: Sequence[Bin]
    calibration_error: float | None
    by_length: Sequence[Share]
    by_side: Sequence[Share]
    rating_correlation: Interval | None
    n_ratings: int


def check(
    model: Scorer,
    rows: Sequence[Preference | Rating],
    *,
    gold: Callable[[Sequence[Episode]], Any] | None = None,
) -> RewardModelVerdict:
    """Holds a reward model against what people said.

    Args:
        model: To be checked.
        rows: What it did not learn from, at least one.
        gold: The known reward, where there is one.

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        raise ValueError("rows must hold at least one preference or rating, got none")
    texts = list(dict.fromkeys(text for row in rows for text in _texts(row)))
    prompts, completions = zip(*texts, strict=True)
    rewards = dict(zip(texts, model.score(prompts, completions).tolist(), strict=True))
    compared = [row for row in rows if isinstance(row, Preference)]
    decided = [row for row in compared if not row.tie]
    leads = np.array([rewards[better] - rewards[worse] for better, worse in map(_texts, decided)])
    right = (leads > 0) + 0.5 * (leads == 0)
    known = None if gold is None else _known(gold, texts)
    agreement = _agreement(decided)
    calibration = list(_calibration(model.nats * leads))
    rated = [row for row in rows if isinstance(row, Rating)]
    return RewardModelVerdict(
        n_comparisons=len(decided),
        n_ties=len(compared) - len(decided),
        accuracy=_share("", right).right if decided else None,
        agreement=agreement,
        ceiling=None if agreement is None else Interval(*map(_ceiling, agreement)),
        best_of_4=_best_of_four(rewards, _fours_preferred(decided)),
        gold=None if known is None else _ordered_alike(rewards, known, compared),
        gold_best_of_4=None if known is None else _best_of_four(rewards, _fours_known(known)),
        calibration=calibration,
        calibration_error=_calibration_error(calibration),
        by_length=list(_by_length(decided, right)),
        by_side=list(_by_side(decided, right)),
        rating_correlation=rank_correlation(
            [rewards[row.prompt, row.completion] for row in rated], [row.score for row in rated]
        ),
        n_ratings=len(rated),
    )


def rank_correlation(rewards: Sequence[float], ratings: Sequence[float]) -> Interval | None:
    """Returns Spearman's ρ with its interval of 95 %, by Fisher's z.

    Source: Bonett and Wright 2000, Psychometrika 65(1): the variance of z is (1 + ρ²/2)/(n − 3).
    """
    n = len(ratings)
    if n <= 3 or len(set(ratings)) < 2 or len(set(rewards)) < 2:
        return None
    rho = float(spearmanr(rewards, ratings).statistic)
    if abs(rho) == 1:
        return Interval(rho, rho, rho)
    reach = normal_quantile(0.95) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    z = math.atanh(rho)
    return Interval(rho, math.tanh(z - reach), math.tanh(z + reach))


def _texts(row: Preference | Rating) -> list[Text]:
    completions = [row.completion] if isinstance(row, Rating) else [row.chosen, row.rejected]
    return [(row.prompt, completion) for completion in completions]


def _known(gold: Callable[[Sequence[Episode]], Any], texts: Sequence[Text]) -> dict[Text, float]:
    worth = np.asarray(gold([Episode.from_text(*text) for text in texts]), dtype=np.float64)
    return dict(zip(texts, worth.tolist(), strict=True))


def _share(name: str, right: Floats) -> Share:
    return Share(name, len(right), wilson(float(right.sum()), len(right)))


def _agreement(decided: Sequence[Preference]) -> Interval | None:
    """Returns how often two answers about the same two texts agree, if any were given."""
    if not decided:
        return None
    pairs = [(row.prompt, *sorted((row.chosen, row.rejected))) for row in decided]
    numbers = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
    units = [numbers[pair] for pair in pairs]
    values = [int(row.chosen < row.rejected) for row in decided]
    counts = pair_counts(units, values, np.arange(len(decided)))
    n = counts.pairs.sum() / 2
    return wilson(float(counts.equal.sum() / 2), float(n)) if n else None


def _ceiling(agreement: float) -> float:
    return (1 + math.sqrt(max(0.0, 2 * agreement - 1))) / 2


def _fours_preferred(decided: Sequence[Preference]) -> Iterator[list[Text]]:
    """Yields, for each prompt where one text was preferred to three others, it and those."""
    beaten: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for row in decided:
        beaten[row.prompt][row.chosen][row.rejected] = None
    for prompt, by_winner in beaten.items():
        for winner, losers in by_winner.items():
            if len(losers) >= _FOUR - 1:
                yield [(prompt, text) for text in [winner, *losers][:_FOUR]]
                break


def _fours_known(known: Mapping[Text, float]) -> Iterator[list[Text]]:
    """Yields, for each prompt, the first four texts, if one is the best: it before the others."""
    by_prompt: dict[str, list[Text]] = defaultdict(list)
    for text in known:
        by_prompt[text[0]].append(text)
    for texts in by_prompt.values():
        four = sorted(texts[:_FOUR], key=lambda text: -known[text])
        if len(four) == _FOUR and known[four[0]] > known[four[1]]:
            yield four


def _best_of_four(rewards: Mapping[Text, float], fours: Iterator[list[Text]]) -> Share | None:
    right = [rewards[best] > max(rewards[other] for other in others) for best, *others in fours]
    return _share("best of 4", np.array(right, dtype=np.float64)) if right else None


def _ordered_alike(
    rewards: Mapping[Text, float], known: Mapping[Text, float], compared: Sequence[Preference]
) -> Share | None:
    pairs = [_texts(row) for row in compared]
    signs = [
        np.sign(rewards[one] - rewards[other]) * np.sign(known[one] - known[other])
        for one, other in pairs
        if known[one] != known[other]
    ]
    return _share("as the known reward", (1 + np.array(signs)) / 2) if signs else None


def _calibration(log_odds: Floats) -> Iterator[Bin]:
    """Yields comparisons in bins of about equal size, by how sure the model is.

    Args:
        log_odds: Of what was preferred, (n,).
    """
    sure = 1 / (1 + np.exp(-np.abs(log_odds)))
    right = (log_odds > 0) + 0.5 * (log_odds == 0)
    for rows in np.array_split(np.argsort(sure, kind="stable"), _BINS):
        if len(rows):
            share = _share("", right[rows])
            yield Bin(float(sure[rows].mean()), share.right, share.n)


def _calibration_error(bins: Sequence[Bin]) -> float | None:
    n = sum(one.n for one in bins)
    return sum(one.n * abs(one.right.value - one.predicted) for one in bins) / n if n else None


def _by_length(decided: Sequence[Preference], right: Floats) -> Iterator[Share]:
    longer = np.array([len(row.chosen) - len(row.rejected) for row in decided])
    for rows in np.array_split(np.argsort(longer, kind="stable"), _LENGTHS):
        if len(rows):
            least, most = int(longer[rows[0]]), int(longer[rows[-1]])
            yield _share(f"{least:+d} to {most:+d} characters", right[rows])


def _by_side(decided: Sequence[Preference], right: Floats) -> Iterator[Share]:
    for side in ("left", "right"):
        rows = [at for at, row in enumerate(decided) if row.side == side]
        if rows:
            yield _share(side, right[rows])
