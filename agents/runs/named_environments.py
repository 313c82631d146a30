"""The environment that a run names by its Gymnasium id: one of it, or many side by side.

Whatever is registered will do, if it shows texts as `agents` reads them. Knows no environment.
"""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from agents.command_line.command import users_traceback
from agents.runs.named_arguments import arguments_of
from agents.runs.own_code import (
    anchored_place,
    digest_of_source,
    is_in_this_package,
    load_module,
    with_anchored_places,
    with_digests,
    with_objects,
)

_READ = ("input_ids", "attention_mask")
_DECIDED = {"num_envs", "autoreset_mode", "vectorization_mode", "vector_kwargs"}
"""Arguments that are the run's to say."""


def make_one(env_id: str, env_args: str) -> gym.Env[Any, Any]:
    """Returns one environment, to look at; raises as `make_many`."""
    env: gym.Env[Any, Any] = _made(gym.make, env_id, env_args)
    return env


def make_many(
    env_id: str, env_args: str, num_envs: int, **vocabulary: Any
) -> VectorEnv[Any, Any, Any]:
    """Returns environments side by side, in which a finished row idles or starts anew at once.

    Args:
        env_id: Of Gymnasium; before a colon the module, or the file, that registers it.
        env_args: Its arguments, as JSON.
        num_envs: How many.
        **vocabulary: The tokenizer of a model, and what else it brings; `env_args` come before.

    Raises:
        ValueError: If none is registered so, it does not take the arguments, or shows no texts.
    """
    spec = gym.spec(_registered(env_id))
    options: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED}
    if spec.vector_entry_point is None:
        # Its rows are Gymnasium's, which do not idle.
        mode = {"autoreset_mode": AutoresetMode.SAME_STEP}
        options = {"vectorization_mode": "sync", "vector_kwargs": mode}
    options |= {"num_envs": num_envs, **vocabulary}
    envs: VectorEnv[Any, Any, Any] = _made(gym.make_vec, env_id, env_args, **options)
    require_texts(envs, f"env_id={env_id!r}")
    return envs


def require_texts(envs: VectorEnv[Any, Any, Any], whose: str) -> None:
    """Raises ValueError unless environments show texts as they are read here."""
    space = envs.single_observation_space
    if not isinstance(space, spaces.Dict) or not set(_READ) <= set(space):
        raise ValueError(f"{whose} must show texts as {' and '.join(_READ)}, got {space}")


def anchored_id(env_id: str) -> str:
    """Returns an id so that the file that registers it is found from any working folder."""
    return anchored_place(env_id)


def anchored_arguments(env_args: str) -> str:
    """Returns arguments so that the user's code is found from any working folder."""
    return json.dumps(with_anchored_places(arguments_of(env_args, "env_args")))


def identity_of_environment(env_id: str, env_args: str) -> list[Any]:
    """Returns what identifies an environment, the user's code wherever it lies."""
    own = ":" in env_id and not is_in_this_package(env_id)
    source = digest_of_source(env_id) if own else None
    return [env_id.rpartition(":")[2], source, with_digests(arguments_of(env_args, "env_args"))]


def _made(make: Any, env_id: str, env_args: str, **options: Any) -> Any:
    name = _registered(env_id)
    arguments = with_objects(arguments_of(env_args, "env_args"), "env_args")
    if _DECIDED & arguments.keys():
        raise ValueError(
            f"env_args must leave to the run what it decides, {sorted(_DECIDED)}, got {env_args}"
        )
    try:
        return make(name, **{**options, **arguments})
    except TypeError as error:
        if users_traceback(error):
            raise  # from inside of code that took the arguments
        brought = sorted({"tokenizer", "stop_token_ids"} & options.keys())
        of_the_model = f" and, of the model, {' and '.join(brought)}" if brought else ""
        raise ValueError(
            f"{env_id} must take what env_args has, {sorted(arguments)}{of_the_model}: {error}"
        ) from error


def _registered(env_id: str) -> str:
    """Returns an id as Gymnasium knows it, after the code that registers it has been run."""
    if ":" in env_id:
        load_module(env_id, "env_id")
    name = env_id.rpartition(":")[2]
    try:
        gym.spec(name)
    except gym.error.Error as error:
        raise ValueError(
            f"env_id must be registered with Gymnasium, got {env_id!r}: {error}"
        ) from error
    return name
