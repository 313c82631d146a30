"""Prompts to learn from, and others that are held out for evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from agents.distributed import processes
from text_gym import Prompt

HELDOUT_SHARE = 0.1
"""Of the distinct prompts of a file: what is held out, rounded down."""
HELDOUT_SEED = 0
"""Of which they are; not that of the run, so that runs are evaluated on the same."""


class Split(NamedTuple):
    """Prompts to learn from, and others that are held out: none where there are too few."""

    train: Sequence[Prompt]
    heldout: Sequence[Prompt]

    @property
    def eval_prompts(self) -> Sequence[Prompt]:
        """What a policy is evaluated on: the prompts held out, or if there are none, all."""
        return self.heldout or self.train

    @property
    def evaluated_on(self) -> str:
        """What the prompts that a policy is evaluated on are called."""
        return "Held-out prompts" if self.heldout else "Prompts of training (none held out)"

    def own_share(self) -> Split:
        """Returns what this process learns on; all of it if there are too few prompts to share."""
        n = processes.world_size()
        enough = len(self.train) >= n
        return self._replace(train=self.train[processes.rank() :: n]) if enough else self


def heldout_texts(texts: Iterable[str]) -> set[str]:
    """Returns the `HELDOUT_SHARE` of the distinct texts of a file that is held out."""
    distinct = list(dict.fromkeys(texts))
    order = np.random.default_rng(HELDOUT_SEED).permutation(len(distinct))
    return {distinct[place] for place in order[: int(HELDOUT_SHARE * len(distinct))]}


def split_prompts(prompts: Sequence[Prompt]) -> Split:
    """Holds out `HELDOUT_SHARE` of the texts, with all prompts that have them."""
    chosen = heldout_texts(prompt.text for prompt in prompts)
    return Split(
        [prompt for prompt in prompts if prompt.text not in chosen],
        [prompt for prompt in prompts if prompt.text in chosen],
    )
