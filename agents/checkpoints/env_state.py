"""The state of a vector environment with everything around it, layer by layer.

A layer takes part by two methods, which this module finds by name, because algorithms know no
environment in particular:

- `get_state()` returns a dict of values that JSON can hold: all that outlives the next reset, and,
  for whoever needs it, where the episodes stand; `{}` where there is nothing to keep.
- `set_state(state)` goes on from there.

Nobody can see from outside whether a layer without them keeps something, so such a layer is refused
by name. Excepted are those of Gymnasium's wrappers that forget everything at a reset, with which
every batch starts; the functions given to them must keep nothing either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium import wrappers
from gymnasium.error import ResetNeeded
from gymnasium.vector import SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers import vector as vector_wrappers

from agents.checkpoints.plain_values import plain

# By their exact types: a subclass may keep what its parent does not.
_FORGETFUL: frozenset[type] = frozenset(
    {
        wrappers.ClipReward,
        wrappers.FilterObservation,
        wrappers.OrderEnforcing,
        wrappers.PassiveEnvChecker,
        wrappers.RecordEpisodeStatistics,  # keeps statistics, which nothing depends on
        wrappers.TimeLimit,
        wrappers.TransformObservation,
        wrappers.TransformReward,
        vector_wrappers.ClipReward,
        vector_wrappers.FilterObservation,
        vector_wrappers.RecordEpisodeStatistics,
        vector_wrappers.TransformObservation,
        vector_wrappers.TransformReward,
        vector_wrappers.VectorizeTransformObservation,
        vector_wrappers.VectorizeTransformReward,
    }
)


def get_env_state(envs: VectorEnv[Any, Any, Any] | None) -> list[dict[str, Any]]:
    """Returns the state of every layer that has one to give, from the outermost inwards.

    Of Gymnasium's `SyncVectorEnv`, these are the layers of the environments in its rows. A layer
    that was never reset has no state yet: None stands for it.

    Raises:
        ValueError: If a layer cannot give its state, or gives values that JSON would not give back;
            the message names it.
    """
    return [{"layer": name, "state": _state_of(name, layer)} for name, layer in _layers(envs)]


def set_env_state(
    envs: VectorEnv[Any, Any, Any] | None, state: Sequence[Mapping[str, Any]]
) -> None:
    """Makes every layer go on from a state that `get_env_state` returned.

    Raises:
        ValueError: If the layers are not those that were saved; the message names both.
    """
    layers = list(_layers(envs))
    names, saved = [name for name, _ in layers], [one["layer"] for one in state]
    if names != saved:
        raise ValueError(f"envs must be made of the layers that were saved, {saved}, got {names}")
    for (_, layer), one in zip(layers, state, strict=True):
        if one["state"] is not None:
            layer.set_state(one["state"])


def _layers(env: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the layers that may keep something, with their names."""
    layer = env
    while layer is not None:
        if isinstance(layer, SyncVectorEnv):
            for row, inner in enumerate(layer.envs):
                yield from _layers(inner, f"row {row}: ")
        elif type(layer) not in _FORGETFUL:
            yield f"{where}{type(layer).__name__}", layer
        layer = layer.env if isinstance(layer, gym.Wrapper | VectorWrapper) else None


def _state_of(name: str, layer: Any) -> Any:
    if not (hasattr(layer, "get_state") and hasattr(layer, "set_state")):
        raise ValueError(
            "envs must be made of layers with get_state and set_state ({} and no effect where "
            f"there is nothing to keep) to be saved, got {name} from {type(layer).__module__}"
        )
    try:
        state = layer.get_state()
    except ResetNeeded:
        return None
    return plain(state, name)
