"""The prompts that a run names, and which of them are held out for judging it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console

from agents.applications.film_reviews.prompts import openings, read_reviews
from agents.distributed import processes
from agents.fetching.film_reviews import REVIEWS_FILE
from agents.fetching.items import FILM_REVIEWS, require
from text_gym import Prompt, small_talk
from text_gym.prompts import read_prompts


class Split(NamedTuple):
    """Prompts to learn from, and prompts to judge on."""

    train: Sequence[Prompt]
    heldout: Sequence[Prompt]

    def own_share(self) -> Split:
        """Returns what this process learns on; all of it if there are too few prompts to share."""
        n = processes.world_size()
        enough = len(self.train) >= n
        return self._replace(train=self.train[processes.rank() :: n]) if enough else self


def load_prompts(name: str, console: Console) -> Split:
    """Returns the prompts that a run's `prompts` option names.

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
    prompts = read_prompts(name)
    return Split(prompts, prompts)


def _chitchat_prompts(split: small_talk.Split) -> list[Prompt]:
    pairs = small_talk.chitchat_pairs(split)
    return [Prompt(text) for text in dict.fromkeys(pair.prompt for pair in pairs)]
