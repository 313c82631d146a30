"""Swapping or adding to the feedback: `Feedback`.

The meaning of the wrapper, for one environment and for a vector, is `FeedbackTransform`: how the
feedback on finished episodes combines with the reward that came from inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import gymnasium as gym
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.number_rules import require_finite
from text_gym.rewards import RewardFunction, as_reward_function
from text_gym.rewards.each_turn import pays_each_turn
from text_gym.rewards.function import Scores, reward_name, score
from text_gym.task import Observation
from text_gym.wrappers.reward_transform import EpisodeTransform, Finished, RewardUpdate, Values
from text_gym.wrappers.transform_wrapper import TransformWrapper
from text_gym.wrappers.vector_transform_wrapper import VectorTransformWrapper

Mode = Literal["replace", "add"]


class FeedbackTransform(EpisodeTransform):
    """Combines feedback on finished episodes with the reward from inside.

    Args:
        reward_function: A `RewardFunction` or a plain `fn(prompt, completion) -> float`.
        mode: `"replace"` pays `weight * feedback`; `"add"` pays that on top of the inner reward.
        weight: What the feedback is multiplied by.
        name: Its name among the reward components; defaults to the function's own.

    Raises:
        ValueError: If `mode` is unknown, or `weight` is not finite.
        TypeError: If `reward_function` is not a function of episodes or of prompt and completion.
    """

    def __init__(
        self,
        reward_function: RewardFunction | Callable[[str, str], float],
        mode: Mode = "replace",
        weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        if mode not in ("replace", "add"):
            raise ValueError(f"mode must be 'replace' or 'add', got {mode!r}")
        require_finite(weight, "weight")
        self.reward_function = as_reward_function(reward_function, "reward_function")
        self.mode = mode
        self.replaces = mode == "replace"
        self.weight = weight
        self.name = name

    def apply(self, finished: Finished) -> RewardUpdate:
        """Returns rewards (k,) and their terms for `k` finished episodes."""
        own = self.weighed(finished.episodes)
        rewards = own.total if self.replaces else finished.rewards + own.total
        return RewardUpdate(rewards, own.components)

    def weighed(self, episodes: Sequence[Episode]) -> Scores:
        """Returns the weighted feedback, its components under the names they are reported by.

        Raises:
            ValueError: If it is for each turn, and a text has several: it sees them at the end.
        """
        if pays_each_turn(self.reward_function) and any(len(one.turns) > 1 for one in episodes):
            raise ValueError(
                "reward_function must pay for whole texts here, got a reward for each turn of "
                "texts of several: give EachTurn to the environment itself"
            )
        scores = score(self.reward_function, episodes)
        components = self._named(scores.total, scores.components)
        return Scores(self.weight * scores.total, components)

    def _named(self, total: Values, components: Mapping[str, Values]) -> dict[str, Values]:
        if self.name is None:
            return {name: self.weight * term for name, term in components.items()}
        if len(components) == 1:
            return {self.name: self.weight * total}
        return {f"{self.name}/{name}": self.weight * term for name, term in components.items()}

    def __repr__(self) -> str:
        """Shows function, mode and weight."""
        return f"{reward_name(self.reward_function)}, mode={self.mode!r}, weight={self.weight}"


class Feedback(TransformWrapper):
    """Pays the finished text by another reward function, or by one more.

    In replace mode the inner reward function is not even called, and reward wrappers inside pay
    nothing.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        reward_function: A `RewardFunction` or a plain `fn(prompt, completion) -> float`.
        mode: `"replace"` or `"add"`.
        weight: What the feedback is multiplied by.
        name: Its name in `info["reward_components"]`.

    Raises:
        ValueError, TypeError: As `FeedbackTransform` does.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.wrappers import Feedback
        >>> env = Feedback(gym.make("TextGen-v0"), lambda prompt, completion: len(completion))
        >>> _ = env.reset(seed=0)
        >>> _ = env.step(env.unwrapped.tokenizer.encode("fine")[0])
        >>> env.step(env.unwrapped.tokenizer.eos_token_id)[1]
        4.0
    """

    def __init__(
        self,
        env: gym.Env[Observation, int],
        reward_function: RewardFunction | Callable[[str, str], float],
        mode: Mode = "replace",
        weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(
            env,
            FeedbackTransform,
            reward_function=reward_function,
            mode=mode,
            weight=weight,
            name=name,
        )


class VectorFeedback(VectorTransformWrapper):
    """Pays finished texts by another reward function, or by one more.

    The function is called once per step, on the texts that ended, under every autoreset mode.

    Args:
        env: A vector environment that reports `infos["text_episode"]`.
        reward_function: A `RewardFunction` or a plain `fn(prompt, completion) -> float`.
        mode: `"replace"` or `"add"`.
        weight: What the feedback is multiplied by.
        name: Its name in `infos["reward_components"]`.

    Raises:
        ValueError, TypeError: As `FeedbackTransform` does.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        reward_function: RewardFunction | Callable[[str, str], float],
        mode: Mode = "replace",
        weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(
            env,
            FeedbackTransform,
            reward_function=reward_function,
            mode=mode,
            weight=weight,
            name=name,
        )
