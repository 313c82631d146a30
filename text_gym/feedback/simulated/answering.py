"""How a simulated person answers, given what each text is worth: pure chance with known odds.

Knows rewards and odds, no pages and no texts. The odds are those that `aggregation` fits, so what
was put in can be held against what comes out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from text_gym.feedback.aggregation.davidson import outcome_log_probs
from text_gym.feedback.answers import Answer, Places, Preferred, Tie

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Manner:
    """Holds how a simulated person answers.

    Raises:
        ValueError: If a share is not one.
    """

    skill: float = 1.0
    """Log-odds for the better text for each unit of reward."""
    accuracy: float | None = None
    """The probability of preferring the better text, however much better it is, in place of
    `skill`."""
    tie: float | None = None
    """Log-odds of a tie over either side between equals; None: never."""
    side_bias: float = 0.0
    """Log-odds that are added for the left side, or for what is shown first."""
    spam: float = 0.0
    """The share of answers that are given without a look at the texts."""
    drift: float = 0.0
    """How fast attention fades: the log-odds shrink by the factor exp(−drift) with every answer."""
    seconds: float = 0.0
    """The mean time between seeing and answering,"""
    seconds_per_word: float = 0.0
    """and for every word on the screen."""

    def __post_init__(self) -> None:
        """Checks the shares."""
        if not 0 <= self.spam <= 1:
            raise ValueError(f"spam must lie in [0, 1], got {self.spam}")
        if self.accuracy is not None and not 0 < self.accuracy < 1:
            raise ValueError(f"accuracy must lie in (0, 1), got {self.accuracy}")


def compare(
    rewards: Sequence[float], manner: Manner, given: int, chance: np.random.Generator
) -> Answer:
    """Returns a preference for the first or the second of two texts, as shown, or a tie.

    Args:
        rewards: Of the left one and the right one.
        manner: Of the person.
        given: How many answers they gave before.
        chance: Draws the answer.

    Example:
        >>> chance = np.random.default_rng(0)
        >>> says = [compare([1.0, 0.0], Manner(accuracy=0.75), 0, chance) for _ in range(1000)]
        >>> says.count(Preferred(0))
        744
    """
    left, right = _worths(rewards, manner, given, chance)
    eta = np.array([left - right + manner.side_bias])
    tau = np.array([-math.inf if manner.tie is None else manner.tie])
    probabilities = np.exp(outcome_log_probs(eta, tau)[0])
    return (Preferred(0), Tie(), Preferred(1))[chance.choice(3, p=probabilities)]


def rank(
    rewards: Sequence[float], manner: Manner, given: int, chance: np.random.Generator
) -> Places:
    """Returns places in the order in which texts are shown, by Plackett and Luce's model.

    Args:
        rewards: Of up to five texts; the first has the side bias.
        manner: Of the person.
        given: How many answers they gave before.
        chance: Draws the answer.
    """
    worths = _worths(rewards, manner, given, chance) + chance.gumbel(size=len(rewards))
    worths[0] += manner.side_bias
    order = np.argsort(-worths)
    places = np.empty(len(rewards), dtype=np.int64)
    places[order] = np.arange(1, len(rewards) + 1)
    return Places(tuple(places.tolist()))


def rate(
    reward: float,
    lowest: int,
    highest: int,
    manner: Manner,
    given: int,
    chance: np.random.Generator,
) -> int:
    """Returns a number on a scale: the middle for a reward of 0, the ends for large ones.

    The place on the scale is σ(skill·reward + ε), ε logistic, so that of two texts rated by many
    the better one has the higher mean. Accuracy has no meaning for a single text.

    Args:
        reward: Of the text.
        lowest: Of the scale,
        highest: and its other end.
        manner: Of the person.
        given: How many answers they gave before.
        chance: Draws the answer.
    """
    looked = chance.random() >= manner.spam
    worth = looked * manner.skill * math.exp(-manner.drift * given) * reward
    share = 1 / (1 + math.exp(-(worth + chance.logistic())))
    return lowest + min(int(share * (highest - lowest + 1)), highest - lowest)


def pause(words: int, manner: Manner, chance: np.random.Generator) -> float:
    """Returns the seconds before an answer; their standard deviation is a third of their mean.

    Args:
        words: On the screen.
        manner: Of the person.
        chance: Draws the time, from a gamma distribution.
    """
    mean = manner.seconds + manner.seconds_per_word * words
    return float(chance.gamma(9.0, mean / 9.0))


def _worths(
    rewards: Sequence[float], manner: Manner, given: int, chance: np.random.Generator
) -> Floats:
    """Returns what each text is worth to the person, in logits; equal to one who looks away."""
    values = np.asarray(rewards, dtype=np.float64)
    if chance.random() < manner.spam:
        return np.zeros_like(values)
    attention = math.exp(-manner.drift * given)
    if manner.accuracy is None:
        return attention * manner.skill * values
    steps = np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.float64)
    return attention * math.log(manner.accuracy / (1 - manner.accuracy)) * steps
