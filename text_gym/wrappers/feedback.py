"""Swapping or adding to the feedback: `Feedback`.

The meaning of the wrapper, for one environment and for a vector, is `FeedbackRule`: how the
feedback on finished episodes combines with the reward that came from inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.rewards import RewardFunction, as_reward_function
from text_gym.rewards.function import reward_name, score
from text_gym.task import Observation

Mode = Literal["replace", "add"]
Terms = Mapping[str, NDArray[np.float64]]


class FeedbackRule:
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
        if not np.isfinite(weight):
            raise ValueError(f"weight must be finite, got {weight}")
        self.reward_function = as_reward_function(reward_function)
        self.mode = mode
        self.weight = weight
        self.name = name

    def __call__(
        self,
        episodes: Sequence[Episode],
        inner: NDArray[np.float64],
        inner_terms: Terms,
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Returns rewards (k,) and their terms for `k` finished episodes.

        Raises:
            ValueError: If a term of this name was already paid from inside.
        """
        scores = score(self.reward_function, episodes)
        own = self._named(scores.total, scores.components)
        if self.mode == "replace":
            return self.weight * scores.total, own
        twice = sorted(own.keys() & inner_terms.keys())
        if twice:
            raise ValueError(f"name must differ from the components already paid, got {twice}")
        return inner + self.weight * scores.total, {**inner_terms, **own}

    def _named(
        self, total: NDArray[np.float64], components: Terms
    ) -> dict[str, NDArray[np.float64]]:
        if self.name is None:
            return {name: self.weight * term for name, term in components.items()}
        if len(components) == 1:
            return {self.name: self.weight * total}
        return {f"{self.name}/{name}": self.weight * term for name, term in components.items()}

    def __repr__(self) -> str:
        """Shows function, mode and weight."""
        return f"{reward_name(self.reward_function)}, mode={self.mode!r}, weight={self.weight}"


def mute(env: Any) -> None:
    """Tells every layer from `env` inwards that its feedback is not wanted."""
    layer = env
    while layer is not None:
        if hasattr(layer, "muted"):
            layer.muted = True
        elif hasattr(layer, "set_attr"):  # one of Gymnasium's vectors: reaches each outermost layer
            layer.set_attr("muted", True)
        layer = getattr(layer, "env", None)


def show_after(payer: Any) -> None:
    """Makes the environment show a text to a person when `payer` has paid for it, not before."""
    if hasattr(payer.unwrapped, "payer"):
        payer.unwrapped.payer = payer


class Feedback(gym.Wrapper[Observation, int, Observation, int], RecordConstructorArgs):
    """Pays the finished text by another reward function, or by one more.

    In replace mode the inner reward function is not even called.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        reward_function: A `RewardFunction` or a plain `fn(prompt, completion) -> float`.
        mode: `"replace"` or `"add"`.
        weight: What the feedback is multiplied by.
        name: Its name in `info["reward_components"]`.

    Raises:
        ValueError, TypeError: As `FeedbackRule` does.

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
        RecordConstructorArgs.__init__(
            self,
            reward_function=reward_function,
            mode=mode,
            weight=weight,
            name=name,
            _disable_deepcopy=True,
        )
        super().__init__(env)
        self.rule = FeedbackRule(reward_function, mode, weight, name)
        self._muted = False
        if mode == "replace":
            mute(env)
        show_after(self)

    @property
    def muted(self) -> bool:
        """True where an outer wrapper replaces the feedback; setting it mutes the inside too."""
        return self._muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._muted = muted
        if muted:
            mute(self.env)

    def step(self, action: int) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        """Steps the environment and pays for the text if it is finished."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "text_episode" in info and not self.muted:
            terms = {k: np.array([v]) for k, v in info.get("reward_components", {}).items()}
            rewards, terms = self.rule([info["text_episode"]], np.array([float(reward)]), terms)
            reward = float(rewards[0])
            components = {name: float(term[0]) for name, term in terms.items()}
            info["reward_components"] = components
            if hasattr(self.unwrapped, "show_reward"):
                self.unwrapped.show_reward(self, reward, components)
        return observation, reward, terminated, truncated, info
