"""Feedback that comes too late: `DelayedFeedback`."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.reward_transform import EpisodeTransform, Finished, RewardUpdate, changed
from text_gym.wrappers.transform_wrapper import TransformWrapper
from text_gym.wrappers.vector_transform_wrapper import VectorTransformWrapper


class DelayTransform(EpisodeTransform):
    """Pays the feedback on a finished text at the end of the n-th finished text after it.

    The wait is counted in the row's own finished texts; a truncated one has no feedback and does
    not count. Nothing is lost: what a row was paid and what it is still owed sum to its feedback.

    Raises:
        ValueError: If `episodes` is not an integer of at least 1.
    """

    def __init__(self, episodes: int, name: str = "delay") -> None:
        if not isinstance(episodes, int) or episodes < 1:
            raise ValueError(f"episodes must be an integer of at least 1, got {episodes!r}")
        self.episodes = episodes
        self.name = name
        self._owed: defaultdict[int, deque[float]] = defaultdict(deque)

    def apply(self, finished: Finished) -> RewardUpdate:
        """Returns what is due now, and what is owed then as `info["owed_feedback"]`."""
        rewards = np.zeros(len(finished.rows))
        owed = np.zeros(len(finished.rows))
        for index, row in enumerate(finished.rows.tolist()):
            queue = self._owed[row]
            queue.append(float(finished.rewards[index]))
            if len(queue) > self.episodes:
                rewards[index] = queue.popleft()
            owed[index] = sum(queue)
        return changed(self.name, finished, rewards, owed_feedback=owed)

    def seed(self, row: int, seed: int) -> None:
        """Forgets what a row is owed, so that a seeded run does not depend on the last."""
        self._owed[row].clear()

    def get_state(self) -> dict[str, Any]:
        """Returns what each row is owed, the oldest first."""
        return {"owed": [(row, list(queue)) for row, queue in self._owed.items()]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on with these debts."""
        self._owed = defaultdict(deque, {row: deque(queue) for row, queue in state["owed"]})


class DelayedFeedback(TransformWrapper):
    """Pays the feedback on each finished text `episodes` finished texts later, in the same row.

    The first `episodes` texts of a row are paid 0. The sum is kept: `info["owed_feedback"]` is what
    is still to come. A reset with a seed forgets it, one without does not. The reward then belongs
    to another text than the one it is paid on, which no Markov reward can express: this is a trial
    for learners, not a task.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        episodes: By how many finished texts the feedback is late.
        name: Under which `info["reward_components"]` has the change.

    Raises:
        ValueError: If `episodes` is not an integer of at least 1.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.wrappers import DelayedFeedback
        >>> env = DelayedFeedback(gym.make("TextGen-v0", max_new_tokens=1), episodes=1)
        >>> for word in env.unwrapped.tokenizer.encode("fine ?"):
        ...     _ = env.reset()
        ...     print(env.step(word)[4]["reward_components"])
        {'word_count': 1.0, 'delay': -1.0}
        {'word_count': 0.0, 'delay': 1.0}
    """

    def __init__(self, env: gym.Env[Observation, Any], episodes: int, name: str = "delay") -> None:
        super().__init__(env, DelayTransform, episodes=episodes, name=name)


class VectorDelayedFeedback(VectorTransformWrapper):
    """Pays the feedback on each finished text `episodes` finished texts later, in the same row.

    Arguments and errors are those of `text_gym.wrappers.DelayedFeedback`.
    """

    def __init__(
        self, env: VectorEnv[Observation, Any, NDArray[Any]], episodes: int, name: str = "delay"
    ) -> None:
        super().__init__(env, DelayTransform, episodes=episodes, name=name)
