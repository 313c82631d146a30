"""What a reply is worth: right, wrong, or an admission that one does not know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from text_gym.applications.facts.answers import is_right, is_unknown
from text_gym.episode import Episode
from text_gym.quoting import quoted


class Verdict(IntEnum):
    """What a reply was."""

    WRONG = -1
    UNKNOWN = 0
    RIGHT = 1


@dataclass(frozen=True)
class Honesty:
    """Rewards a right answer with 1, a wrong one with −`cost`, and "I don't know" with 0.

    To answer pays, on average, if the answer is right with a probability above
    cost / (1 + cost): `threshold`. The price is that of Kalai et al. 2025, "Why language models
    hallucinate", arXiv:2509.04664.

    Args:
        cost: Of a wrong answer, at least 0; at 0 a guess is never worse than silence.
        answer_after: The answer is what follows the last of these words; a reply without them is
            wrong. Empty: the whole reply is the answer.

    Raises:
        ValueError: If the cost is negative or not finite; when called, if a prompt came without
            `metadata["answers"]`.

    Example:
        >>> asked = dict(prompt="What is the capital of France?", metadata={"answers": ["Paris"]})
        >>> replies = ["Paris", "Lyon", "I don't know"]
        >>> Honesty(cost=0.5)([Episode.from_text(**asked, completion=reply) for reply in replies])
        array([ 1. , -0.5,  0. ])
    """

    cost: float = 1.0
    answer_after: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cost) and self.cost >= 0):
            raise ValueError(f"cost must be finite and at least 0, got {self.cost}")

    @property
    def threshold(self) -> float:
        """The probability of being right above which an answer pays."""
        return self.cost / (1 + self.cost)

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the rewards, shape (n,)."""
        return sum(self.components(episodes).values(), np.zeros(len(episodes)))

    def components(self, episodes: Sequence[Episode]) -> dict[str, NDArray[np.float64]]:
        """Returns what is paid for right answers and for wrong ones, each of shape (n,)."""
        verdicts = np.array([self.verdict(episode) for episode in episodes])
        right, wrong = verdicts == Verdict.RIGHT, verdicts == Verdict.WRONG
        return {"right": right.astype(np.float64), "wrong": -self.cost * wrong}

    def verdict(self, episode: Episode) -> Verdict:
        """Judges one reply.

        Raises:
            ValueError: If its prompt came without answers.
        """
        answers = episode.metadata.get("answers")
        if not answers:
            raise ValueError(
                "metadata must hold 'answers' for every prompt that Honesty scores, got "
                f"{quoted(answers)} for {quoted(episode.prompt)}"
            )
        answer = episode.completion
        if self.answer_after:
            _, said, answer = answer.rpartition(self.answer_after)
            if not said:
                return Verdict.WRONG
        if is_unknown(answer):
            return Verdict.UNKNOWN
        return Verdict.RIGHT if is_right(answer, episode.prompt, answers) else Verdict.WRONG
