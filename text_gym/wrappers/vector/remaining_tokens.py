"""`RemainingTokens` for vector environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from text_gym.inner_env import tasks_of
from text_gym.task import Observation
from text_gym.wrappers.remaining_tokens import KEY, remaining_tokens, with_remaining_tokens
from text_gym.wrappers.typed_vector_wrapper import TextWrapper


class RemainingTokens(TextWrapper, RecordConstructorArgs):
    """Adds `remaining_tokens` (int64, (n, 1)) to the observations, final ones included."""

    def __init__(self, env: VectorEnv[Observation, Any, NDArray[Any]]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self._max_new_tokens = tasks_of(env)[0].max_new_tokens
        self._prompt_lengths = np.zeros(env.num_envs, dtype=np.int64)
        self.single_observation_space = with_remaining_tokens(
            env.single_observation_space, self._max_new_tokens
        )
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets the environment; the budget of rows that start is full."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._note_prompts(infos)
        return self._added(observations), infos

    def step(
        self, actions: Any
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Steps the environment; the budgets of rows being written shrink by one."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        for row in np.flatnonzero(infos.get("_final_obs", False)):
            final = infos["final_obs"][row]
            infos["final_obs"][row] = {**final, KEY: self._left(final, row)}
        self._note_prompts(infos)
        return self._added(observations), rewards, terminations, truncations, infos

    def get_state(self) -> dict[str, Any]:
        """Returns where the prompts end, and nothing of the environments inside."""
        return {"prompt_lengths": self._prompt_lengths.tolist()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that `get_state` returned.

        Raises:
            ValueError: If it is the state of another number of rows.
        """
        if len(state["prompt_lengths"]) != self.num_envs:
            raise ValueError(
                f"state must be of {self.num_envs} rows, got {len(state['prompt_lengths'])}"
            )
        self._prompt_lengths = np.array(state["prompt_lengths"], dtype=np.int64)

    def _note_prompts(self, infos: dict[str, Any]) -> None:
        if "prompt_length" in infos:
            started = infos["_prompt_length"]
            self._prompt_lengths[started] = infos["prompt_length"][started]
        self._prompt_lengths += infos.get("appended", 0)  # others write on nobody's budget

    def _left(self, observation: Observation, rows: Any) -> NDArray[np.int64]:
        mask = observation["attention_mask"]
        return remaining_tokens(mask, self._prompt_lengths[rows], self._max_new_tokens)

    def _added(self, observations: Observation) -> Observation:
        return {**observations, KEY: self._left(observations, slice(None))}
