"""How often one policy's reply is better than another's to the same prompt.

Knows neither texts nor who says which is better.
"""

from __future__ import annotations

from collections.abc import Sequence

from text_gym.feedback.proportion import Interval, wilson


def win_rate(scores: Sequence[float], others: Sequence[float]) -> Interval:
    """Returns the share of prompts at which a score is the higher, ties being half a win.

    The interval is Wilson's; with ties it is wider than it would have to be.

    Args:
        scores: One for each prompt.
        others: Of the other policy, on the same prompts.

    Raises:
        ValueError: If there are not equally many, or none.

    Example:
        >>> win_rate([1.0, 2.0, 2.0, 0.0], [0.0, 1.0, 2.0, 1.0]).value
        0.625
    """
    if len(scores) != len(others):
        raise ValueError(f"others must be as many as scores, got {len(others)} for {len(scores)}")
    pairs = zip(scores, others, strict=True)
    return rate_of_wins([0.5 if one == other else float(one > other) for one, other in pairs])


def rate_of_wins(wins: Sequence[float]) -> Interval:
    """Returns the mean of wins from 0 to 1, one for each prompt, with Wilson's interval.

    Raises:
        ValueError: If there are none.
    """
    if not len(wins):
        raise ValueError("wins must be of at least one prompt, got none")
    return wilson(sum(wins), len(wins))
