"""One array of symbols instead of ids and mask: `PaddedTokens`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from text_gym.inner_env import TEXT_KEYS, require_text
from text_gym.task import Observation

KEY = "tokens"


def with_padded_tokens(space: gym.Space[Any]) -> gym.Space[Any]:
    """Returns the single observation space in which one array of symbols is the text."""
    space = require_text(space)
    input_ids = space["input_ids"]
    assert isinstance(input_ids, spaces.Box)
    symbols = spaces.MultiDiscrete(input_ids.high + 2)
    rest = {key: value for key, value in space.items() if key not in TEXT_KEYS}
    return spaces.Dict({KEY: symbols, **rest}) if rest else symbols


def padded_tokens(observation: Observation, padding: int) -> NDArray[np.int64] | Observation:
    """Returns the symbols (..., L), beside whatever else is observed."""
    symbols = np.where(observation["attention_mask"], observation["input_ids"], padding)
    rest = {key: value for key, value in observation.items() if key not in TEXT_KEYS}
    return {KEY: symbols, **rest} if rest else symbols


class PaddedTokens(
    gym.ObservationWrapper[NDArray[np.int64] | Observation, int, Observation],
    RecordConstructorArgs,
):
    """Shows the text as `MultiDiscrete([V + 1] * L)`: token ids, and V past the end.

    For learners that take one flat array. Padding has a symbol of its own, so no mask is needed,
    and the space says that symbols are categories and not quantities: Stable-Baselines3 turns them
    into one-hots by itself, and `gymnasium.wrappers.FlattenObservation` does it for everyone else.
    A network with an embedding of V + 1 rows takes them as they are.

    If more is observed than the text (`RemainingTokens`), the observation is a `Dict` of `tokens`
    and the rest. Put this wrapper outside those that read the ids or the mask.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.wrappers import PaddedTokens
        >>> env = PaddedTokens(gym.make("TextGen-v0", max_new_tokens=3))
        >>> _ = env.reset(seed=0)
        >>> env.step(7)[0]
        array([12,  5,  1, 31,  7, 33, 33])
    """

    def __init__(self, env: gym.Env[Observation, int]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        assert isinstance(env.action_space, spaces.Discrete)
        self._padding = int(env.action_space.n)
        self.observation_space = with_padded_tokens(env.observation_space)

    def observation(self, observation: Observation) -> NDArray[np.int64] | Observation:
        """Returns the symbols (L,), beside whatever else is observed."""
        return padded_tokens(observation, self._padding)

    def get_state(self) -> dict[str, Any]:
        """Returns nothing: there is nothing to keep."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Changes nothing."""
