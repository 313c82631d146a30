"""What a wrapper that changes rewards means, apart from how an environment hands rewards out.

A `RewardTransform` is the one implementation behind a wrapper for one environment and its vector
version. An `EpisodeTransform` acts on the feedback, the reward of the step that finishes a text; a
`StepTransform` pays on every step. A transform knows rows only as numbers: it does not know
environments, autoreset modes or the layout of infos, which `transform_wrapper` and its vector
version handle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.wrappers.partial_episodes import PartialEpisodes
from text_gym.wrappers.row_streams import RowStreams

Rows = NDArray[np.intp]
Values = NDArray[np.float64]


class Finished(NamedTuple):
    """Holds the k texts that a step finished.

    Attributes:
        rows: Their rows, ascending, shape (k,).
        rewards: What came from inside, shape (k,).
        episodes: The finished texts.
    """

    rows: Rows
    rewards: Values
    episodes: Sequence[Episode]


class Step(NamedTuple):
    """Holds one step of the k rows that were being written.

    Attributes:
        rows: The rows, ascending, shape (k,).
        rewards: What came from inside, shape (k,).
        terminated: Which texts cannot go on, bool (k,). A truncated one could have.
        texts: The texts after the step.
        finished: Which of the k have a finished text, as indices, shape (m,).
        episodes: Those m texts.
    """

    rows: Rows
    rewards: Values
    terminated: NDArray[np.bool_]
    texts: PartialEpisodes
    finished: Rows
    episodes: Sequence[Episode]


class RewardUpdate(NamedTuple):
    """Holds what a transform pays to m of the k rows it was shown.

    Attributes:
        rewards: The rewards that take the place of those from inside, shape (m,).
        components: The transform's own part of them by name, each of shape (m,). With those from
            inside, unless the transform replaces those, they sum to `rewards`.
        infos: What else it has to say about each, by info key, each of shape (m,).
        where: Which of the k, as indices (m,); all of them by default.
        cumulative: What they sum to over the whole text, where they were paid incrementally; each
            of shape (m,).
    """

    rewards: Values
    components: Mapping[str, Values]
    infos: Mapping[str, NDArray[Any]] = {}
    where: Rows | slice = slice(None)
    cumulative: Mapping[str, Values] = {}


class RewardTransform:
    """Says what is paid; a stateless transform has nothing to seed and an empty state.

    Attributes:
        replaces: Whether what comes from inside is replaced. Then it is not computed at all.
        gives_feedback: Whether what it pays belongs to the reward of the text, which people are
            shown and curricula learn from. What only guides the learner on its way does not.
    """

    replaces = False
    gives_feedback = True

    def seed(self, row: int, seed: int) -> None:
        """Starts a row anew, as `reset(seed=...)` does."""

    def get_state(self) -> dict[str, Any]:
        """Returns what `set_state` needs to go on from here; survives JSON and pickle."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that `get_state` returned."""


class EpisodeTransform(RewardTransform, ABC):
    """Changes the feedback: the reward of the step that finishes a text.

    A truncated text is not finished: it has no feedback, and the transform neither sees nor counts
    it.
    """

    @abstractmethod
    def apply(self, finished: Finished) -> RewardUpdate:
        """Returns what the finished texts are paid."""


class RandomTransform(EpisodeTransform):
    """Changes the feedback at random, by a stream for each row.

    Args:
        name: Of its component; transforms of different names draw independently.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.streams = RowStreams(name)

    def seed(self, row: int, seed: int) -> None:
        """Starts the stream of a row anew."""
        self.streams.seed(row, seed)

    def get_state(self) -> dict[str, Any]:
        """Returns the positions of the random streams."""
        return {"streams": self.streams.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from these positions."""
        self.streams.set_state(state["streams"])


class StepTransform(RewardTransform, ABC):
    """Pays on every step, from the text so far.

    A truncated step is paid like any other: the learner bootstraps from the text as it stands.
    """

    @abstractmethod
    def begin(self, rows: Rows, texts: PartialEpisodes) -> None:
        """Notes that an episode begins in each of `rows`, with `texts` as prompts."""

    @abstractmethod
    def apply(self, step: Step) -> RewardUpdate:
        """Returns what the step is paid."""


def changed(name: str, finished: Finished, rewards: Values, **infos: NDArray[Any]) -> RewardUpdate:
    """Pays `rewards`, shape (k,), and reports the change under `name`."""
    return RewardUpdate(rewards, {name: rewards - finished.rewards}, infos)
