"""What changed in the replies to the same prompts, and what the gain in reward went along with.

Knows two evaluations; who wrote what is in them is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.evaluation.metrics import Evaluation
from agents.inspection.explained_gain import Explanation, explain_gain
from agents.inspection.wording import Shift, phrases, shifts
from text_gym.metrics import distinct_n

_PHRASES = 3
"""Most phrases that a gain is regressed on."""


def explained(before: Evaluation, after: Evaluation) -> Explanation:
    """Divides the gain of every other prompt, by phrases that were chosen on those between.

    Args:
        before: Of `FEWEST_TEXTS` prompts or more.
        after: Of the same prompts.
    """
    chosen = _rising(shifts(before.completions[::2], after.completions[::2]))
    old, new = before.completions[1::2], after.completions[1::2]
    gains = np.subtract(after.scores[1::2], before.scores[1::2])
    changes: dict[str, Sequence[float]] = {
        "length (tokens)": np.subtract(after.lengths[1::2], before.lengths[1::2]).tolist(),
        "repeated words (share)": np.subtract(_repeated(new), _repeated(old)).tolist(),
    }
    for phrase in chosen:
        changes[f"“{phrase}”"] = np.subtract(_having(phrase, new), _having(phrase, old)).tolist()
    return explain_gain(gains.tolist(), changes)


def _rising(found: Sequence[Shift]) -> list[str]:
    """Returns the phrases that rose most surely, no two of which share a word."""
    chosen: list[str] = []
    taken: set[str] = set()
    for one in reversed(found):
        words = set(one.phrase.split())
        if one.is_certain and one.log_odds > 0 and not words & taken:
            chosen.append(one.phrase)
            taken |= words
    return chosen[:_PHRASES]


def _having(phrase: str, texts: Sequence[str]) -> list[float]:
    return [float(phrase in phrases(text)) for text in texts]


def _repeated(texts: Sequence[str]) -> list[float]:
    """Returns the share of a text's words that it has had before, for each text."""
    return [1 - distinct_n([text], 1, without=1.0) for text in texts]
