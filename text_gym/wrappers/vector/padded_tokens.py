"""`PaddedTokens` for vector environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from text_gym.task import Observation
from text_gym.wrappers.padded_tokens import padded_tokens, with_padded_tokens
from text_gym.wrappers.typed_vector_wrapper import Symbols, SymbolWrapper


class PaddedTokens(SymbolWrapper, RecordConstructorArgs):
    """Shows the texts as symbols (n, L): token ids, and V past the end; final ones included."""

    def __init__(self, env: VectorEnv[Observation, Any, NDArray[Any]]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        assert isinstance(env.single_action_space, spaces.Discrete)
        self._padding = int(env.single_action_space.n)
        self.single_observation_space = with_padded_tokens(env.single_observation_space)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Symbols, dict[str, Any]]:
        """Resets the environments."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return padded_tokens(observations, self._padding), infos

    def step(
        self, actions: Any
    ) -> tuple[Symbols, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Steps the environments."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        for row in np.flatnonzero(infos.get("_final_obs", False)):
            infos["final_obs"][row] = padded_tokens(infos["final_obs"][row], self._padding)
        return (
            padded_tokens(observations, self._padding),
            rewards,
            terminations,
            truncations,
            infos,
        )

    def get_state(self) -> dict[str, Any]:
        """Returns nothing: there is nothing to keep."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Changes nothing."""
