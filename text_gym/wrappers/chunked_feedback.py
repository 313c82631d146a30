"""Feedback while the text is being written: `ChunkedFeedback`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.rewards import RewardFunction
from text_gym.task import Observation
from text_gym.wrappers.feedback import FeedbackTransform, Mode
from text_gym.wrappers.partial_episodes import PartialEpisodes
from text_gym.wrappers.reward_transform import RewardUpdate, Rows, Step, StepTransform, Values
from text_gym.wrappers.transform_wrapper import TransformWrapper
from text_gym.wrappers.vector_transform_wrapper import VectorTransformWrapper


class ChunkTransform(StepTransform):
    """Scores the text so far after every `every` tokens and at its end, and pays the differences.

    What is paid along a finished text sums to the feedback on it, in each component.

    Raises:
        ValueError: If `every` is not an integer of at least 1, or as `FeedbackTransform` does.
        TypeError: As `FeedbackTransform` does.
    """

    def __init__(
        self,
        reward_function: RewardFunction | Callable[[str, str], float],
        every: int,
        mode: Mode = "replace",
        weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"every must be an integer of at least 1, got {every!r}")
        self.every = every
        self.feedback = FeedbackTransform(reward_function, mode, weight, name)
        self.replaces = self.feedback.replaces
        self._paid: defaultdict[int, dict[str, float]] = defaultdict(dict)

    def begin(self, rows: Rows, texts: PartialEpisodes) -> None:
        """Notes that nothing was paid yet."""
        for row in rows.tolist():
            self._paid[row] = {}

    def apply(self, step: Step) -> RewardUpdate:
        """Returns what the texts gained since they were last scored, where a chunk is complete."""
        due = step.texts.written % self.every == 0
        due[step.finished] = True
        where = np.flatnonzero(due)
        finished = dict(zip(step.finished.tolist(), step.episodes, strict=True))
        episodes = [
            finished[i] if i in finished else step.texts.episodes([i])[0] for i in where.tolist()
        ]
        values = self.feedback.weighed(episodes).components
        terms = self._gains(step.rows[where].tolist(), values)
        gained = sum(terms.values(), start=np.zeros(len(where)))
        rewards = gained if self.replaces else step.rewards[where] + gained
        return RewardUpdate(rewards, terms, where=where, cumulative=values)

    def _gains(self, rows: list[int], values: Mapping[str, Values]) -> dict[str, Values]:
        """Returns the differences to what was paid, and notes that they are paid now."""
        gains = {}
        for name, value in values.items():
            gains[name] = value - [self._paid[row].get(name, 0.0) for row in rows]
            for row, now in zip(rows, value.tolist(), strict=True):
                self._paid[row][name] = now
        return gains

    def get_state(self) -> dict[str, Any]:
        """Returns what each row was paid for its text so far."""
        return {"paid": [(row, dict(paid)) for row, paid in self._paid.items()]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what was paid."""
        self._paid = defaultdict(dict, {row: dict(paid) for row, paid in state["paid"]})


class ChunkedFeedback(TransformWrapper):
    """Pays the feedback incrementally: what the text gained with every chunk of tokens.

    The reward function is applied to the text so far after every `every` tokens (as an episode
    whose `stop_reason` is `"length"`) and to the finished text, and each time the difference to the
    last value is paid, the first to 0. The sum is the feedback on the finished text. A text that is
    truncated keeps what it was paid, and gets no more.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        reward_function: A `RewardFunction` or a plain `fn(prompt, completion) -> float`.
        every: Number of tokens in a chunk.
        mode: `"replace"` pays this instead of the inner reward, which is not computed, `"add"` on
            top of it.
        weight: What the feedback is multiplied by.
        name: Its name in `info["reward_components"]`.

    Raises:
        ValueError, TypeError: As `ChunkTransform` does.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.rewards import WordCount
        >>> from text_gym.wrappers import ChunkedFeedback
        >>> env = ChunkedFeedback(gym.make("TextGen-v0"), WordCount(), every=2)
        >>> _ = env.reset(seed=0)
        >>> [env.step(word)[1] for word in env.unwrapped.tokenizer.encode("fine and you ?")]
        [0.0, 2.0, 0.0, 1.0]
    """

    def __init__(
        self,
        env: gym.Env[Observation, Any],
        reward_function: RewardFunction | Callable[[str, str], float],
        every: int,
        mode: Mode = "replace",
        weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(
            env,
            ChunkTransform,
            reward_function=reward_function,
            every=every,
            mode=mode,
            weight=weight,
            name=name,
        )


class VectorChunkedFeedback(VectorTransformWrapper):
    """Pays the feedback incrementally: what the text gained with every chunk of tokens.

    The reward function is called once per step, on the texts whose chunk or whole is complete.

    Arguments and errors are those of `text_gym.wrappers.ChunkedFeedback`.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        reward_function: RewardFunction | Callable[[str, str], float],
        every: int,
        mode: Mode = "replace",
        weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(
            env,
            ChunkTransform,
            reward_function=reward_function,
            every=every,
            mode=mode,
            weight=weight,
            name=name,
        )
