"""A Gymnasium vector environment as one of Stable-Baselines3: `GymnasiumVecEnv`.

Stable-Baselines3 (SB3) has a vector interface of its own, older than Gymnasium's, and trains on
nothing else. This module translates; it knows nothing of text, nor of any algorithm.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import DictInfoToList
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnv,
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)

_OF_ONE_ROW = {
    "observation_space": "single_observation_space",
    "action_space": "single_action_space",
}


class GymnasiumVecEnv(VecEnv):
    """Feeds a Gymnasium vector environment to Stable-Baselines3.

    Step for step equal to SB3's `DummyVecEnv` over the same environments one by one, with the same
    seeds. The autoreset mode must be DISABLED: finished rows are reset here, so that their last
    infos and those of the reset cannot be mistaken for each other.

    Infos of finished rows hold `terminal_observation`; all hold `TimeLimit.truncated`; those of the
    latest reset are in `reset_infos`. SB3 logs returns if its `VecMonitor` goes around this, or
    Gymnasium's vector `RecordEpisodeStatistics` inside.

    `get_attr` and `env_method` ask the outermost layer of the vector that has the name, then, in
    Gymnasium's own vectors, the environments in the rows. A method of the vector is called once and
    returns one value for each row: so `env_method("action_masks")` serves sb3-contrib's
    `MaskablePPO`.

    Args:
        envs: The vector environment, in whatever vector wrappers.

    Raises:
        ValueError: If its autoreset mode is not DISABLED.

    Example:
        >>> import gymnasium as gym
        >>> from stable_baselines3 import A2C
        >>> envs = gym.make_vec("text_gym:TextGen-v0", num_envs=8, autoreset_mode="Disabled")
        >>> model = A2C("MultiInputPolicy", GymnasiumVecEnv(envs), device="cpu").learn(80)
        >>> model.num_timesteps
        80
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.DISABLED:
            raise ValueError(
                "envs must have autoreset_mode 'Disabled', so that finished rows are reset by the "
                f"adapter, got {mode}"
            )
        self.envs: Any = DictInfoToList(envs)
        self._actions: NDArray[Any] | None = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> VecEnvObs:
        """Resets all rows with the seeds and options set before.

        Raises:
            ValueError: If the rows were given different options, which Gymnasium's vectors cannot
                pass on.
        """
        options = self._options[0]
        if any(other != options for other in self._options):
            raise ValueError(f"options must be the same for all rows, got {self._options}")
        # SB3 seeds row i with seed + i, and so do Gymnasium's vectors.
        seed = self._seeds[0]
        observations, self.reset_infos = self.envs.reset(seed=seed, options=dict(options) or None)
        self._reset_seeds()
        self._reset_options()
        copied: VecEnvObs = _copied(observations)
        return copied

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Steps all rows and resets those that finished."""
        observations, rewards, terminations, truncations, infos = self.envs.step(self._actions)
        dones = terminations | truncations
        for info, truncated in zip(infos, (truncations & ~terminations).tolist(), strict=True):
            info["TimeLimit.truncated"] = truncated
        finished = np.flatnonzero(dones).tolist()
        for row in finished:
            infos[row]["terminal_observation"] = _copied(observations, row)
        if finished:
            observations, reset_infos = self.envs.reset(options={"reset_mask": dones.copy()})
            for row in finished:
                self.reset_infos[row] = reset_infos[row]
        return _copied(observations), rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Closes the vector environment."""
        self.envs.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Returns a picture of every row under render mode `"rgb_array"`."""
        if self.render_mode != "rgb_array":
            warnings.warn(f"render_mode is {self.render_mode}, not 'rgb_array'", stacklevel=2)
            return [None] * self.num_envs
        return list(self.envs.render())

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Returns an attribute for each row; raises AttributeError if nothing has it."""
        name = _OF_ONE_ROW.get(attr_name, attr_name)
        owner = self._owner(name)
        if owner is None:
            values = self._vector_of_envs(name).get_attr(name)
        else:
            values = [getattr(owner, name)] * self.num_envs
        return [values[row] for row in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute for all rows.

        Raises:
            AttributeError: If nothing has it.
            ValueError: If `indices` leaves out a row.
        """
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise ValueError(f"indices must name all rows, which share a vector, got {indices}")
        owner = self._owner(attr_name)
        if owner is None:
            self._vector_of_envs(attr_name).set_attr(attr_name, [value] * self.num_envs)
        else:
            setattr(owner, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Calls a method and returns what it gives for each row.

        Raises:
            AttributeError: If nothing has it.
            TypeError: If the vector's own does not return one value for each row, or None.
        """
        owner = self._owner(method_name)
        if owner is None:
            values = self._vector_of_envs(method_name).call(method_name, *args, **kwargs)
        else:
            values = getattr(owner, method_name)(*args, **kwargs)
        if values is None:
            values = [None] * self.num_envs
        if not isinstance(values, Sequence | np.ndarray) or len(values) != self.num_envs:
            raise TypeError(
                f"{method_name} must return one value for each of {self.num_envs} rows, got "
                f"{values!r}"
            )
        return [values[row] for row in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Tells whether a wrapper of this class goes around the vector, for each row."""
        wrapped = any(isinstance(layer, wrapper_class) for layer in self._layers())
        return [wrapped for _ in self._get_indices(indices)]

    def _layers(self) -> Iterator[VectorEnv[Any, Any, Any]]:
        """Yields the wrappers from the outermost inwards, then the vector itself."""
        layer = self.envs
        while isinstance(layer, VectorWrapper):
            layer = layer.env
            yield layer

    def _owner(self, name: str) -> VectorEnv[Any, Any, Any] | None:
        return next((layer for layer in self._layers() if hasattr(layer, name)), None)

    def _vector_of_envs(self, name: str) -> Any:
        """Returns the vector, if it has an environment in each row that may have the name."""
        base = self.envs.unwrapped
        if not hasattr(base, "call"):
            raise AttributeError(f"neither the vector nor a wrapper around it has {name!r}")
        return base


def _copied(observations: Any, rows: Any = ...) -> Any:
    """Copies all rows, or one: a learner keeps observations, and the vector may reuse its own."""
    if isinstance(observations, dict):
        return {key: np.array(values[rows]) for key, values in observations.items()}
    return np.array(observations[rows])
