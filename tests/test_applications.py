"""Applications: every one is at home in Gymnasium, and can be told otherwise than it is."""

from __future__ import annotations

import pickle
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from agents.applications import fine_tuning, registry
from agents.fetching.items import TRANSLATION
from text_gym.applications import APPLICATIONS, ApplicationEnv, ApplicationVectorEnv
from text_gym.checks import check_text_env, check_vector_env

needs_fetching = pytest.mark.skipif(
    not TRANSLATION.folder.is_dir(), reason="needs `python -m agents.fetch translation`"
)
every_application = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=needs_fetching if name == "Translation" else ())
        for name in APPLICATIONS
    ],
)


@every_application
def test_an_application_conforms(name: str) -> None:
    check_text_env(ApplicationEnv(name))
    check_env(gym.make(f"TextGen/{name}-v0").unwrapped)
    check_vector_env(lambda: ApplicationVectorEnv(3, name=name), lambda: ApplicationEnv(name))


@every_application
def test_a_spec_comes_back_from_json_and_pickle(name: str) -> None:
    env = gym.make(f"TextGen/{name}-v0", split="heldout")
    assert env.spec is not None
    assert EnvSpec.from_json(env.spec.to_json()) == env.spec
    assert pickle.loads(pickle.dumps(env.spec)) == env.spec


@every_application
def test_held_out_prompts_are_in_no_training(name: str) -> None:
    train, heldout = (
        {prompt.text for prompt in ApplicationEnv(name, split=split).task.source.prompts or ()}
        for split in ("train", "heldout")
    )
    assert train
    assert heldout
    assert not train & heldout


@every_application
def test_what_is_given_takes_the_place_of_the_applications_own(name: str) -> None:
    envs = gym.make_vec(f"TextGen/{name}-v0", num_envs=2, max_new_tokens=3)
    assert envs.unwrapped.task.max_new_tokens == 3


def test_an_unknown_application_is_refused() -> None:
    with pytest.raises(ValueError, match=r"name must be one of \[.*'Calculator'.*\], got 'Abacus'"):
        ApplicationEnv("Abacus")


@pytest.mark.parametrize("option", ["model", "prompts", "reward"])
def test_every_name_that_an_option_may_have_stands_in_its_help(option: str) -> None:
    names = {
        "model": [*registry.MODELS, *registry.POLICIES],
        "prompts": registry.PROMPTS,
        "reward": [*registry.REWARDS, *registry.LEARNT_REWARDS],
    }[option]
    source = Path(fine_tuning.__file__).read_text(encoding="utf-8")
    told = source.partition(f"\n    {option}: str")[2].split('"""')[1]
    assert [name for name in names if f"`{name}`" not in told] == []
