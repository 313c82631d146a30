"""Many simulated people at once in a study that is served: each a thread with a client of its own.

Needs httpx2, from the extra `feedback`. Knows where a study is served and how links are made; what
people do there is `visiting`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from text_gym.feedback.access import Access
from text_gym.feedback.owner import served_at
from text_gym.feedback.simulated.answering import Manner
from text_gym.feedback.simulated.visiting import Visit, Visitor
from text_gym.feedback.study import open_study
from text_gym.quoting import quoted
from text_gym.rewards import DistinctNgrams, RewardFunction, Sentiment, WordCount

Reward = Literal["sentiment", "words", "variety"]
REWARDS: dict[Reward, Callable[[], RewardFunction]] = {
    "sentiment": Sentiment,
    "words": WordCount,
    "variety": lambda: DistinctNgrams(2),
}
"""What simulated people may like: positive English, long texts, texts without repetition."""


@dataclass(frozen=True)
class Crowd:
    """Holds who is simulated.

    Raises:
        ValueError: If there are fewer annotators than spammers, or none.
    """

    annotators: int = 10
    spammers: int = 0
    """So many of them answer without a look at the texts."""
    reward: Reward = "sentiment"
    manner: Manner = field(default_factory=Manner)
    """Of all who are no spammers."""
    most: int | None = None
    """Judgements of each; None: as many as there are."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if not 0 <= self.spammers <= self.annotators or self.annotators < 1:
            raise ValueError(
                "annotators must be at least 1 and spammers at most as many, "
                f"got {self.annotators} and {self.spammers}"
            )


def invite(study: Path, count: int) -> list[str]:
    """Returns the addresses at which that many simulated people enter a study that is served.

    They are called "simulated 1" and so on; who is known already comes back.

    Raises:
        FileNotFoundError: If there is no study, or nobody serves it.
    """
    opened, address = open_study(study), served_at(study)
    if address is None:
        raise FileNotFoundError(f"the study in {quoted(str(study))} is not served; serve it first")
    with opened.open() as store:
        access, links = Access(store), []
        for name in names(count):
            person = store.annotators.named(name) or store.annotators.add(name)
            links.append(f"{address}/link/{access.invite(person)}")
    return links


def names(count: int) -> list[str]:
    """Returns the pseudonyms of simulated people."""
    return [f"simulated {at}" for at in range(1, count + 1)]


def send(links: Sequence[str], crowd: Crowd) -> list[Visit]:
    """Sends everybody to the study at once, and returns what came of it, in the order of the links.

    Raises:
        ModuleNotFoundError: If httpx2 is not installed.
        ConnectionError: If the server refuses somebody, or does not answer.
    """
    clients, reward = _httpx2(), REWARDS[crowd.reward]()

    def visit(at: int) -> Visit:
        manner = replace(crowd.manner, spam=1.0) if at < crowd.spammers else crowd.manner
        chance = np.random.default_rng([crowd.seed, at])
        with clients.Client(follow_redirects=True, timeout=30.0) as client:
            visitor = Visitor(client, reward, manner, chance, names(at + 1)[at])
            try:
                return visitor.visit(links[at], crowd.most)
            except clients.TransportError as error:
                raise ConnectionError(f"the server does not answer: {error}") from error

    with ThreadPoolExecutor(len(links)) as threads:
        return list(threads.map(visit, range(len(links))))


def _httpx2() -> Any:
    try:
        import httpx2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "simulated people need httpx2, which is not installed: pip install 'text-gym[feedback]'"
        ) from error
    return httpx2
