"""`gym.make`, `gym.make_vec`, specs and the registry: as for an environment of Gymnasium's own.

What each does is compared with what it does for CartPole.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import RecordEpisodeStatistics, TimeAwareObservation

from text_gym import CharTokenizer, TextGenVectorEnv
from text_gym.checks import check_vector_env

THEIRS = "CartPole-v1"
OURS = ["TextGen-v0", "TextGen/Copying-v0", "TextGen/Calculator-v0"]
STATISTICS = [RecordEpisodeStatistics]


def layers(env: Any) -> list[str]:
    """Returns what stands around an environment, from outside, as its name is printed."""
    return re.findall(r"<(\w+)", str(env))[:-2]


def cut_after(env: Any) -> int:
    """Returns how many steps a text takes, or a pole stands, when nothing but a limit ends it."""
    env.reset(seed=0)
    for step in range(1, 6):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample() * 0)
        if np.any(truncated):
            assert np.all(truncated)
            assert not np.any(terminated)
            return step
    return 0


def remade(spec: Any, way: str) -> Any:
    ways: dict[str, Callable[[], EnvSpec]] = {
        "itself": lambda: spec,
        "pickle": lambda: pickle.loads(pickle.dumps(spec)),
        "json": lambda: EnvSpec.from_json(spec.to_json()),
    }
    return ways[way]()


MADE: dict[str, dict[str, Any]] = {
    "plain": {"max_episode_steps": -1},
    "limited": {"max_episode_steps": 3},
    "unchecked": {"max_episode_steps": 3, "disable_env_checker": True},
}


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("name", OURS)
def test_the_same_layers_stand_around_it(name: str, made: str) -> None:
    theirs, ours = gym.make(THEIRS, **MADE[made]), gym.make(name, **MADE[made])
    assert layers(ours) == layers(theirs)
    assert ours.spec.max_episode_steps == MADE[made].get("max_episode_steps") or made == "plain"
    assert cut_after(ours) == cut_after(theirs) == (0 if made == "plain" else 3)


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
@pytest.mark.parametrize("name", [THEIRS, "TextGen-v0", "TextGen/Copying-v0"])
def test_a_vector_is_cut_after_as_many_steps(name: str, mode: str) -> None:
    envs = gym.make_vec(name, 2, vectorization_mode=mode, max_episode_steps=3)
    assert cut_after(envs) == 3


@pytest.mark.parametrize("name", ["TextGen-v0", "TextGen/Copying-v0", "TextGen/Calculator-v0"])
def test_a_vector_without_limit_is_asked_for_as_a_single_one(name: str) -> None:
    for make in (gym.make, lambda *args, **limit: gym.make_vec(*args, 2, **limit)):
        assert cut_after(make(name, max_episode_steps=-1)) == 0


@pytest.mark.parametrize("limit", [0, -2])
def test_a_limit_of_no_steps_is_refused(limit: int) -> None:
    for name in (THEIRS, "TextGen-v0"):
        with pytest.raises((AssertionError, ValueError), match=f"max_episode_steps.*{limit}"):
            gym.make(name, max_episode_steps=limit)
    with pytest.raises(ValueError, match=f"max_episode_steps must be at least 1, got {limit}"):
        gym.make_vec("TextGen-v0", 2, max_episode_steps=limit)


def test_of_several_turns_the_native_vector_names_what_cuts_them() -> None:
    with pytest.raises(ValueError, match=r"max_new_tokens with limit='truncate'.*got 3"):
        gym.make_vec("TextGen/Calculator-v0", 2, max_episode_steps=3)


TASK: dict[str, Any] = {
    "prompts": ["ab", "c", "abca"],
    "tokenizer": CharTokenizer("abc."),
    "reward_function": lambda prompt, completion: 1.0 + len(completion),
    "max_new_tokens": 4,
    "max_episode_steps": 3,
}
LIMITS = {"shorter": {}, "as long": {"max_new_tokens": 3}, "truncate": {"limit": "truncate"}}


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
@pytest.mark.parametrize("limits", LIMITS)
def test_the_native_vector_equals_a_vector_of_time_limits(limits: str, mode: AutoresetMode) -> None:
    task = {**TASK, **LIMITS[limits]}
    check_vector_env(
        lambda: gym.make_vec("TextGen-v0", 3, autoreset_mode=mode, **task),
        lambda: gym.make("TextGen-v0", **task),
        idle_rows=True,
    )


def test_a_limit_counts_the_steps_before_a_state() -> None:
    envs, other = [gym.make_vec("TextGen-v0", 3, **TASK).unwrapped for _ in range(2)]
    assert isinstance(envs, TextGenVectorEnv)
    assert isinstance(other, TextGenVectorEnv)
    envs.reset(seed=0)
    for _ in range(2):
        envs.step(np.zeros(3, dtype=np.int64))
    other.set_state(json.loads(json.dumps(envs.get_state())))
    assert other.step(np.zeros(3, dtype=np.int64))[3].all()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_a_text_that_was_cut_stays_cut_in_a_state(mode: AutoresetMode) -> None:
    made = [gym.make_vec("TextGen-v0", 2, autoreset_mode=mode, **TASK) for _ in range(2)]
    envs, other = [one.unwrapped for one in made]
    assert isinstance(envs, TextGenVectorEnv)
    assert isinstance(other, TextGenVectorEnv)
    letters = np.zeros(2, dtype=np.int64)
    envs.reset(seed=0)
    assert [envs.step(letters)[3].any() for _ in range(3)] == [False, False, True]
    other.set_state(json.loads(json.dumps(envs.get_state())))
    for _ in range(3):
        seen, again = envs.step(letters), other.step(letters)
        assert np.array_equal(seen[0]["attention_mask"], again[0]["attention_mask"])
        assert np.array_equal(seen[3], again[3])


@pytest.mark.parametrize("way", ["itself", "pickle", "json"])
@pytest.mark.parametrize("name", [THEIRS, *OURS])
def test_a_spec_makes_the_same_again(name: str, way: str) -> None:
    assert remade(gym.spec(name), way) == gym.spec(name)
    env = TimeAwareObservation(gym.make(name, max_episode_steps=3))
    spec = remade(env.spec, way)
    assert spec == env.spec
    assert [one.name for one in spec.additional_wrappers] == ["TimeAwareObservation"]
    again = gym.make(spec)
    assert str(again) == str(env)
    assert cut_after(again) == 3
    envs = gym.make_vec(name, 2)
    assert str(gym.make_vec(remade(envs.spec, way), 2)) == str(envs)


# Gymnasium 1.2 closes its CartPoleVectorEnv without asking whether it was ever made.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("arguments", [{"nonsense": 1}, {"render_mode": "ansi", "nonsense": 1}])
def test_an_unknown_argument_is_named(arguments: dict[str, Any]) -> None:
    for name in (THEIRS, *OURS):
        for make in (gym.make, lambda one, **given: gym.make_vec(one, 2, **given)):
            with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
                make(name, **{**arguments, "render_mode": None})


REFUSED: list[dict[str, Any]] = [
    {"wrappers": STATISTICS},
    {"vector_kwargs": {"copy": False}},
    {"vectorization_mode": "threads"},
]


@pytest.mark.parametrize("arguments", REFUSED, ids=lambda arguments: next(iter(arguments)))
@pytest.mark.parametrize("name", OURS)
def test_what_gymnasium_refuses_of_a_native_vector(name: str, arguments: dict[str, Any]) -> None:
    said = []
    for one in (THEIRS, name):
        with pytest.raises((gym.error.Error, ValueError)) as refused:
            gym.make_vec(one, 2, **arguments)
        said.append((refused.type, str(refused.value)))
    assert said[0] == said[1]


def test_wrappers_of_a_spec_are_for_vectors_of_single_environments() -> None:
    for name in (THEIRS, "TextGen-v0"):
        spec = TimeAwareObservation(gym.make(name, max_episode_steps=3)).spec
        with pytest.raises(gym.error.Error, match="additional_wrappers"):
            gym.make_vec(spec, 2)
        envs: Any = gym.make_vec(spec, 2, vectorization_mode="sync", wrappers=STATISTICS)
        assert layers(envs.envs[0])[:2] == ["RecordEpisodeStatistics", "TimeAwareObservation"]


def test_the_registry_lists_ours_and_suggests_what_was_meant() -> None:
    listed = gym.pprint_registry(disable_print=True)
    assert isinstance(listed, str)
    assert set(OURS) <= set(listed.split())
    for name in (THEIRS, "TextGen-v0"):
        with pytest.raises(gym.error.VersionNotFound, match="provides versioned environments"):
            gym.spec(f"{name[:-1]}9")
        shown = gym.spec(name).pprint(disable_print=True)
        assert isinstance(shown, str)
        assert f"id={name}" in shown
