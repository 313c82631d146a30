"""The calculator's preset: what it imitates, and that a model learns whom to ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config

from agents import PPO, SFT, CausalLMPolicy, PolicyConfig, PPOConfig, SFTConfig, collect_rollout
from agents.applications.calculator import starting_model
from agents.applications.calculator.application import CALCULATOR
from agents.applications.calculator.demonstrations import Answered, answered, demonstrations
from benchmarks import smallest_turns
from text_gym import CharTokenizer
from text_gym.applications import ApplicationVectorEnv, arguments_of
from text_gym.applications.calculator import questions
from text_gym.applications.calculator.task import ALPHABET

SPELL = CharTokenizer(ALPHABET)


def test_the_preset_asks_as_the_environment_does() -> None:
    asked = arguments_of("Calculator")
    preset = CALCULATOR.preset
    for name in ("response_template", "max_response_tokens", "max_turn_tokens", "max_turns"):
        assert getattr(preset, name) == asked[name], name
    assert (preset.prompt_template, preset.max_new_tokens) == (
        asked["prompt_template"],
        asked["max_new_tokens"],
    )
    assert CALCULATOR.prompts["sums"]().train == asked["prompts"]
    assert CALCULATOR.responders["calculator"](torch.device("cpu")) == asked["responder"]
    assert CALCULATOR.rewards["right_answer"]() == asked["reward_function"]


def test_a_demonstration_counts_what_was_answered_and_not_what_was_added() -> None:
    (one,) = questions("train", most=1)
    shown = demonstrations([Answered(one, ["1+1=", "2"])], SPELL)
    ids, own = shown.texts.input_ids[0], shown.texts.completion_mask[0]
    assert SPELL.decode(ids.tolist()) == f"{one.text}\n1+1=2\n2"
    eos = SPELL.eos_token_id
    assert ids[own].tolist() == [*SPELL.encode("1+1="), eos, *SPELL.encode("2"), eos]


def test_a_share_of_the_sums_is_put_to_the_calculator() -> None:
    sums = questions("train", most=400)
    texts = answered(sums, calls=0.25, seed=0)
    called = [one for one in texts if len(one.turns) == 2]
    assert 70 < len(called) < 130
    assert called[0].turns[0] == called[0].prompt.metadata["expression"] + "="
    assert all(one.turns[-1] == one.prompt.reference for one in texts)


def small_model(length: int) -> CausalLMPolicy:
    sizes: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": length}
    eos = SPELL.eos_token_id
    config = GPT2Config(vocab_size=eos + 1, bos_token_id=eos, eos_token_id=eos, **sizes)
    return CausalLMPolicy.from_config(config, PolicyConfig(value_network="none"))


@pytest.mark.slow
def test_a_small_model_learns_that_asking_pays() -> None:
    sums = questions("train", largest=19, most=8)
    guesses = [Answered(one, ["30"]) for one in sums if one.reference != "30"]
    shown = demonstrations([*answered(sums, calls=1.0, seed=0), *guesses], SPELL)
    envs = ApplicationVectorEnv(
        32, name="Calculator", prompts=sums, autoreset_mode="Disabled", max_new_tokens=16
    )
    imitator = small_model(envs.task.max_length)
    SFT(imitator, shown, SFTConfig(learning_rate=5e-3, n_epochs=160, batch_size=16)).learn()
    policy = CausalLMPolicy(imitator.model, PolicyConfig(value_network="shared"))

    def right() -> float:
        generator = torch.Generator().manual_seed(0)
        return float(collect_rollout(policy, envs, 128, generator, seed=0).scores.mean())

    before = right()
    settings = PPOConfig(
        learning_rate=1e-3, n_episodes=64, batch_size=32, n_epochs=2, kl_coef=0.0, gae_lambda=1.0
    )
    PPO(policy, envs, settings).learn(total_episodes=2048)
    assert before < 0.6
    assert right() > before + 0.2


def test_the_starting_model_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path))
    monkeypatch.setattr(starting_model, "_train", made.append)
    folder = starting_model.starting_model()
    assert starting_model.starting_model() == folder
    assert len(made) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:all 64 episodes of the first batch were paid 0")
@pytest.mark.parametrize("name", smallest_turns.LEARNERS)
def test_ours_and_sb3_learn_four_sums(name: str) -> None:
    found = smallest_turns.LEARNERS[name](smallest_turns.calculator_envs, 0, 5_632)
    assert found["last"] > 0.4  # untrained: below 0.01
