"""The wrappers that a run names, put around its environments.

Knows neither what is inside them nor what learns from it.
"""

from __future__ import annotations

import json
from typing import Any

from gymnasium.vector import VectorEnv, VectorRewardWrapper
from gymnasium.wrappers.vector import NormalizeReward

from agents.runs.named_arguments import named_arguments
from agents.runs.own_code import (
    anchored_place,
    called,
    identity,
    is_place,
    load_object,
    with_anchored_places,
    with_digests,
    with_objects,
)
from text_gym.wrappers import vector
from text_gym.wrappers.vector_transform_wrapper import VectorTransformWrapper

Envs = VectorEnv[Any, Any, Any]
_OPTION = "wrappers"
_OF_REWARDS = (VectorTransformWrapper, VectorRewardWrapper, NormalizeReward)
"""What changes rewards, or says so by what it derives from."""


def wrapped(envs: Envs, names: str) -> Envs:
    """Puts wrappers around environments.

    Args:
        envs: A vector environment.
        names: The option, as `named_arguments` reads it, innermost first.

    Raises:
        ValueError: If there is no such wrapper, or it does not take the arguments.
    """
    for name, arguments in named(names).items():
        own = with_objects(arguments, _OPTION)
        envs = called(_load(name), (envs,), own, name, _OPTION)
        if not isinstance(envs, VectorEnv):
            raise ValueError(
                f"{_OPTION} must make vector environments of vector environments, as "
                f"gymnasium.vector.VectorWrapper does, but {name} makes {type(envs).__name__}"
            )
    return envs


def kept_in_evaluation(names: str | None) -> str | None:
    """Returns the wrappers without those known to change the reward; None: none are left.

    So that figures say what texts are worth, and can be compared with those of other wrappers.
    """
    kept = {} if names is None else named(names)
    kept = {name: one for name, one in kept.items() if not _changes_reward(_load(name))}
    return json.dumps(kept, ensure_ascii=False) if kept else None


def _changes_reward(wrapper: Any) -> bool:
    return isinstance(wrapper, type) and issubclass(wrapper, _OF_REWARDS)


def named(names: str) -> dict[str, dict[str, Any]]:
    """Returns the arguments of each wrapper that an option names.

    Raises:
        ValueError: If something else than arguments is said of one.
    """
    found = named_arguments(names, _OPTION)
    for name, arguments in found.items():
        if not isinstance(arguments, dict):
            raise ValueError(f"{_OPTION} must say arguments of {name} by name, got {arguments!r}")
    return found


def anchored_wrappers(names: str) -> str:
    """Returns the option so that the user's code is found from any working folder."""
    said = {
        anchored_place(name) if is_place(name) else name: with_anchored_places(arguments)
        for name, arguments in named(names).items()
    }
    return json.dumps(said, ensure_ascii=False)


def identity_of_wrappers(names: str) -> list[Any]:
    """Returns what identifies wrappers, the user's code wherever it lies."""
    return [[identity(name), with_digests(one)] for name, one in named(names).items()]


def _load(name: str) -> Any:
    if is_place(name):
        return load_object(name, _OPTION)
    if name not in vector.__all__:
        raise ValueError(
            f"{_OPTION} must be among {vector.__all__}, file.py:name or package.module:name, "
            f"got {name!r}"
        )
    return getattr(vector, name)
