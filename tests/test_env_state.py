"""The state of environments with everything around them: layer by layer, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers import vector as vector_wrappers

from agents.checkpoints.env_state import get_env_state, set_env_state
from text_gym import CharTokenizer, EpochPrompts, TextGenEnv, TextGenVectorEnv
from text_gym.constraints import MinimumLength
from text_gym.wrappers import NoisyFeedback, vector

Envs = VectorEnv[Any, Any, Any]
TASK: dict[str, Any] = {"tokenizer": CharTokenizer("abc"), "max_new_tokens": 4}


def native() -> TextGenVectorEnv:
    return TextGenVectorEnv(3, prompts=EpochPrompts("abc"), autoreset_mode="SameStep", **TASK)


def wrapped() -> Envs:
    envs = vector.NormalizeFeedback(vector.NoisyFeedback(native(), std=1.0))
    envs = vector_wrappers.RecordEpisodeStatistics(vector.Constrain(envs, MinimumLength(1)))
    return vector.RemainingTokens(vector.DelayedFeedback(envs, 1))


def one() -> gym.Env[Any, Any]:
    env = NoisyFeedback(TextGenEnv(["a", "b", "cc"], **TASK), std=1.0)
    return gym.wrappers.TimeLimit(gym.wrappers.OrderEnforcing(env), max_episode_steps=3)


def synchronous() -> Envs:
    envs = SyncVectorEnv([one] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    return vector.NormalizeFeedback(envs)


def batch(envs: Envs, seed: int, *, first: bool = False) -> list[Any]:
    """As an agent does: a full reset, then steps."""
    actions = np.random.default_rng(seed).integers(0, 4, (12, 3))
    seen: list[Any] = [envs.reset(seed=7 if first else None)]
    seen += [envs.step(action) for action in actions]
    return [without_time(one) for one in seen]


def without_time(seen: Any) -> Any:
    *rest, infos = seen
    infos = {key: value for key, value in infos.items() if key not in ("final_info", "episode")}
    return (*rest, infos)


@pytest.mark.parametrize("make", [native, wrapped, synchronous])
def test_batches_go_on_from_a_state_in_json(make: Callable[[], Envs]) -> None:
    envs, other = make(), make()
    batch(envs, 0, first=True)
    state = json.loads(json.dumps(get_env_state(envs)))
    set_env_state(other, state)
    assert get_env_state(other) == state
    for seed in (1, 2):
        assert data_equivalence(batch(other, seed), batch(envs, seed), exact=True)
    assert get_env_state(other) == get_env_state(envs) != state


def test_layers_stand_from_the_outermost_inwards() -> None:
    assert [one["layer"] for one in get_env_state(wrapped())] == [
        "RemainingTokens",
        "VectorDelayedFeedback",
        "Constrain",
        "VectorNormalizeFeedback",
        "VectorNoisyFeedback",
        "TextGenVectorEnv",
    ]
    assert [one["layer"] for one in get_env_state(synchronous())][:3] == [
        "VectorNormalizeFeedback",
        "row 0: NoisyFeedback",
        "row 0: TextGenEnv",
    ]


def test_what_was_never_reset_has_no_state_yet() -> None:
    state = get_env_state(wrapped())
    assert state[-1] == {"layer": "TextGenVectorEnv", "state": None}
    envs, other = wrapped(), wrapped()
    set_env_state(envs, state)
    assert data_equivalence(batch(envs, 0, first=True), batch(other, 0, first=True), exact=True)


class Foreign(VectorWrapper):
    """Might keep anything."""


class ForeignEnv(gym.Env[Any, Any]):
    observation_space = action_space = gym.spaces.Discrete(2)


class ForeignReward(gym.wrappers.TransformReward[Any, Any]):
    """Might keep what its parent does not."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env, float)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Foreign(native()), "Foreign from"),
        (lambda: vector.ClipFeedback(Foreign(wrapped()), 0, 1), "Foreign from"),
        (lambda: vector_wrappers.NormalizeReward(native()), "NormalizeReward from gymnasium"),
        (lambda: SyncVectorEnv([ForeignEnv]), "row 0: ForeignEnv from"),
        (lambda: SyncVectorEnv([lambda: ForeignReward(one())]), "row 0: ForeignReward from"),
    ],
    ids=["outermost", "in the middle", "statistics", "base of a row", "subclass"],
)
def test_a_layer_that_cannot_give_its_state_is_named(make: Callable[[], Envs], name: str) -> None:
    with pytest.raises(ValueError, match=rf"with get_state and set_state .* got {name}"):
        get_env_state(make())


def test_environments_in_other_processes_are_named() -> None:
    envs = AsyncVectorEnv.__new__(AsyncVectorEnv)  # what would be asked, without the processes
    envs.closed = True
    with pytest.raises(ValueError, match="got AsyncVectorEnv from gymnasium"):
        get_env_state(envs)


class Declared(VectorWrapper):
    state: Any = {}  # noqa: RUF012  # replaced by tests

    def get_state(self) -> Any:
        return self.state

    def set_state(self, state: Any) -> None:
        self.state = state


def test_a_foreign_layer_takes_part_by_two_methods() -> None:
    envs, other = Declared(native()), Declared(native())
    envs.state = {"seen": (1, 2.5), "more": {"a": None}}
    set_env_state(other, get_env_state(envs))
    assert other.state == {"seen": [1, 2.5], "more": {"a": None}}


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"rows": {0: 1.0}}, r"Declared\['rows'\]"),
        ({"rows": [0, np.zeros(2)]}, r"Declared\['rows'\]\[1\]"),
        ({"rows": np.int64(1)}, r"Declared\['rows'\]"),
    ],
)
def test_a_state_that_json_would_change_is_refused(state: Any, where: str) -> None:
    envs = Declared(native())
    envs.state = state
    with pytest.raises(ValueError, match=f"in {where}$"):
        get_env_state(envs)


def test_a_state_of_other_layers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\['TextGenVectorEnv'\], got \['Declared', 'TextGen"):
        set_env_state(Declared(native()), get_env_state(native()))
