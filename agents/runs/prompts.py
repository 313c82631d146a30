"""The prompts that a run names, and which of them are held out for judging it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console

from agents.applications.film_reviews.prompts import openings, read_reviews
from agents.distributed import processes
from agents.fetching.film_reviews import REVIEWS_FILE
from agents.fetching.items import FILM_REVIEWS, require
from text_gym import Prompt, small_talk
from text_gym.prompts import read_prompts

HELDOUT_SHARE = 0.1
"""Of the distinct prompts of a file: what is held out, rounded down."""
HELDOUT_SEED = 0
"""Of which they are; not that of the run, so that runs are judged on the same."""


class Split(NamedTuple):
    """Prompts to learn from, and others that are held out: none where there are too few."""

    train: Sequence[Prompt]
    heldout: Sequence[Prompt]

    @property
    def judged(self) -> Sequence[Prompt]:
        """What a policy is judged on: the prompts held out, or if there are none, all."""
        return self.heldout or self.train

    @property
    def judged_as(self) -> str:
        """What the prompts that a policy is judged on are called."""
        return "Held-out prompts" if self.heldout else "Prompts of training (none held out)"

    def own_share(self) -> Split:
        """Returns what this process learns on; all of it if there are too few prompts to share."""
        n = processes.world_size()
        enough = len(self.train) >= n
        return self._replace(train=self.train[processes.rank() :: n]) if enough else self


def load_prompts(name: str, console: Console) -> Split:
    """Returns the prompts that a run's `prompts` option names.

    What is held out comes with the conversations and the reviews; of a file, it is `HELDOUT_SHARE`.

    Raises:
        FileNotFoundError: If they must be fetched first; names the command.
    """
    if name == FILM_REVIEWS.name:
        reviews = read_reviews(require(FILM_REVIEWS) / REVIEWS_FILE)
        return Split(*(list(map(Prompt, openings(reviews, half))) for half in ("train", "heldout")))
    if name == "chitchat":
        try:
            return Split(*(_chitchat_prompts(split) for split in ("rl", "heldout")))
        except ModuleNotFoundError as error:
            console.print(f"{error}; using the package's own prompts instead", style="yellow")
            name = "small-talk"
    if name == "small-talk":
        prompts = [Prompt(text) for text in small_talk.PROMPTS]
        heldout = prompts[::4]
        return Split([prompt for prompt in prompts if prompt not in heldout], heldout)
    return _split(read_prompts(name))


def heldout_texts(texts: Iterable[str]) -> set[str]:
    """Returns the `HELDOUT_SHARE` of the distinct texts of a file that is held out."""
    distinct = list(dict.fromkeys(texts))
    order = np.random.default_rng(HELDOUT_SEED).permutation(len(distinct))
    return {distinct[place] for place in order[: int(HELDOUT_SHARE * len(distinct))]}


def _split(prompts: Sequence[Prompt]) -> Split:
    """Holds out `HELDOUT_SHARE` of the texts, with all prompts that have them."""
    chosen = heldout_texts(prompt.text for prompt in prompts)
    return Split(
        [prompt for prompt in prompts if prompt.text not in chosen],
        [prompt for prompt in prompts if prompt.text in chosen],
    )


def _chitchat_prompts(split: small_talk.Split) -> list[Prompt]:
    pairs = small_talk.chitchat_pairs(split)
    return [Prompt(text) for text in dict.fromkeys(pair.prompt for pair in pairs)]
