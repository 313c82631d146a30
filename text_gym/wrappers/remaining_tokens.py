"""Telling the policy how much room is left: `RemainingTokens`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from text_gym.inner_env import require_text, task_of
from text_gym.task import Observation

KEY = "remaining_tokens"


def with_remaining_tokens(space: gym.Space[Any], max_new_tokens: int) -> spaces.Dict:
    """Returns the single observation space with the budget added."""
    return spaces.Dict(
        {**require_text(space).spaces, KEY: spaces.Box(0, max_new_tokens, (1,), np.int64)}
    )


def remaining_tokens(
    attention_mask: NDArray[Any], prompt_length: Any, max_new_tokens: int
) -> NDArray[np.int64]:
    """Returns the number of tokens that may still be written, (..., 1) for a mask (..., L)."""
    written = attention_mask.sum(axis=-1, dtype=np.int64) - prompt_length
    return np.asarray(max_new_tokens - written, dtype=np.int64)[..., None]


class RemainingTokens(gym.Wrapper[Observation, int, Observation, int], RecordConstructorArgs):
    """Adds `remaining_tokens` (int64, (1,)) to the observation.

    With prompts of different lengths the observation alone does not tell how many tokens are left;
    with this wrapper it does.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.wrappers import RemainingTokens
        >>> env = RemainingTokens(gym.make("TextGen-v0"))
        >>> env.reset(seed=0)[0]["remaining_tokens"], env.step(0)[0]["remaining_tokens"]
        (array([20]), array([19]))
    """

    def __init__(self, env: gym.Env[Observation, int]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self._max_new_tokens = task_of(env).max_new_tokens
        self._prompt_length = 0
        self.observation_space = with_remaining_tokens(env.observation_space, self._max_new_tokens)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets the environment; the budget is full."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._prompt_length = info["prompt_length"]
        return self._added(observation), info

    def step(self, action: int) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        """Steps the environment; the budget shrinks by one."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._prompt_length = info.get("prompt_length", self._prompt_length)  # under `Autoreset`
        self._prompt_length += info.get("appended", 0)  # what others write costs the policy nothing
        return self._added(observation), reward, terminated, truncated, info

    def get_state(self) -> dict[str, Any]:
        """Returns where the prompt ends, and nothing of the environment inside."""
        return {"prompt_length": int(self._prompt_length)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that `get_state` returned."""
        self._prompt_length = state["prompt_length"]

    def _added(self, observation: Observation) -> Observation:
        left = remaining_tokens(
            observation["attention_mask"], self._prompt_length, self._max_new_tokens
        )
        return {**observation, KEY: left}
