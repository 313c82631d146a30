"""What surrounds a run: Python's and numpy's global random streams, and the state of wrappers."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorWrapper

from text_gym.checks.failure import require


@contextmanager
def global_streams(seed: int, where: str) -> Iterator[None]:
    """Seeds the global streams inside, requires that they are left alone, and restores them."""
    saved = _global_state()
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # the global stream is what must not matter
    before = _comparable(_global_state())
    try:
        yield
        after = _comparable(_global_state())
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])  # noqa: NPY002
    for name, was, now in zip(("random", "numpy.random"), before, after, strict=True):
        require(was == now, where, f"the global stream of {name} must be neither read nor seeded")


def _global_state() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()  # noqa: NPY002


def _comparable(state: tuple[Any, Any]) -> tuple[Any, Any]:
    _, keys, *rest = state[1]
    return state[0], (keys.tolist(), rest)


def wrapper_states(env: Any) -> list[tuple[Any, Any]]:
    """Returns the wrappers of `env` that have a state of their own, each with that state.

    Statistics that outlive a reset on purpose are part of it, so that one run with a seed can be
    compared with another.
    """
    states = []
    while env is not None:
        if isinstance(env, gym.Wrapper | VectorWrapper) and hasattr(env, "get_state"):
            states.append((env, copy.deepcopy(env.get_state())))
        for inner in getattr(env, "envs", ()):  # of Gymnasium's SyncVectorEnv
            states.extend(wrapper_states(inner))
        env = getattr(env, "env", None)
    return states


def restore(states: list[tuple[Any, Any]]) -> None:
    """Puts wrappers back into the states that `wrapper_states` returned."""
    for wrapper, state in states:
        wrapper.set_state(copy.deepcopy(state))
