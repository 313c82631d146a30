"""What a reward model learns from: comparisons and ratings of texts, as token ids.

A text that is compared several times is there, and read, once. Knows neither files nor networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from agents.policy.token_batch import TokenBatch
from agents.reward_models.reading import Reader
from agents.supervised.pair_files import Preference, Rating


@dataclass(frozen=True)
class Feedback:
    """Holds n comparisons and ratings of m texts.

    Attributes:
        texts: (m, T).
        first: (n,), the text that was preferred, or tied, or rated.
        second: (n,), the one it was compared with; -1 of a rating.
        ties: (n,) bool, whether a comparison had no winner.
        ratings: (n,), in standard deviations from the mean of those that are learnt from; 0 of a
            comparison.
        margins: (n,), by how much one was better, in the unit of whoever said so.
        weights: (n,), how much each counts.
    """

    texts: TokenBatch
    first: Tensor
    second: Tensor
    ties: Tensor
    ratings: Tensor
    margins: Tensor
    weights: Tensor

    def __len__(self) -> int:
        """Returns n."""
        return len(self.weights)

    @property
    def compared(self) -> Tensor:
        """Which are comparisons, (n,) bool; the others are ratings."""
        return self.second >= 0

    @property
    def n_tokens(self) -> int:
        """Number of tokens of the completions that are read."""
        return int(self.texts.completion_mask.sum())

    @property
    def lengths(self) -> Tensor:
        """Tokens of the text, or of the longer of two, of each example, (n,)."""
        of_text = self.texts.attention_mask.sum(dim=1)
        first = of_text[self.first]
        return torch.where(self.compared, torch.maximum(first, of_text[self.second]), first)

    def select(self, rows: Tensor) -> Self:
        """Returns some of them, with their texts only, cut to the longest."""
        first, second = self.first[rows], self.second[rows]
        there = second >= 0
        used, places = torch.cat([first, second[there]]).unique(return_inverse=True)
        other = torch.full_like(second, -1)
        other[there] = places[len(first) :]
        return type(self)(
            self.texts.select(used),
            places[: len(first)],
            other,
            self.ties[rows],
            self.ratings[rows],
            self.margins[rows],
            self.weights[rows],
        )

    def to(self, device: torch.device) -> Self:
        """Returns them on a device."""
        rest = (self.first, self.second, self.ties, self.ratings, self.margins, self.weights)
        return type(self)(self.texts.to(device), *(part.to(device) for part in rest))


def rating_scale(rows: Sequence[Preference | Rating]) -> tuple[float, float]:
    """Returns mean and standard deviation of the ratings among some rows; (0, 1) without any.

    Raises:
        ValueError: If all of them are equal.
    """
    scores = [row.score for row in rows if isinstance(row, Rating)]
    if not scores:
        return 0.0, 1.0
    mean, deviation = float(np.mean(scores)), float(np.std(scores))
    if not deviation > 0:
        raise ValueError(f"ratings must differ to be learnt from, got {mean} for all")
    return mean, deviation


def encode_feedback(
    rows: Sequence[Preference | Rating], reader: Reader, scale: tuple[float, float]
) -> Feedback:
    """Encodes comparisons and ratings, at least one.

    Args:
        rows: What was said.
        reader: Of the reward model.
        scale: Mean and standard deviation of the ratings that are learnt from.
    """
    sides = [_texts(row) for row in rows]
    place = {text: at for at, text in enumerate(dict.fromkeys(t for side in sides for t in side))}
    prompts, completions = zip(*place, strict=True)
    mean, deviation = scale
    return Feedback(
        reader.read(prompts, completions),
        first=torch.tensor([place[side[0]] for side in sides]),
        second=torch.tensor([place[side[1]] if len(side) > 1 else -1 for side in sides]),
        ties=torch.tensor([isinstance(row, Preference) and row.tie for row in rows]),
        ratings=_numbers(
            (row.score - mean) / deviation if isinstance(row, Rating) else 0.0 for row in rows
        ),
        margins=_numbers(row.margin if isinstance(row, Preference) else 0.0 for row in rows),
        weights=_numbers(row.weight for row in rows),
    )


def _texts(row: Preference | Rating) -> list[tuple[str, str]]:
    if isinstance(row, Rating):
        return [(row.prompt, row.completion)]
    return [(row.prompt, row.chosen), (row.prompt, row.rejected)]


def _numbers(values: Iterable[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32)
