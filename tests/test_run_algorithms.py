"""Algorithms on the command line: their settings, their options, their runs."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agents.algorithms.configs.names import ALGORITHMS, config_for, name_of
from agents.applications.fine_tuning import with_algorithm
from agents.applications.registry import APPLICATIONS, PRESETS
from agents.policy.config import PolicyConfig
from agents.runs.learners import LEARNERS
from agents.runs.pipeline import run
from agents.runs.saved_config import described, read_config

OWN = [name for name in ALGORITHMS if name != "sb3-ppo"]


def test_every_algorithm_that_can_be_named_has_a_learner() -> None:
    assert set(ALGORITHMS.values()) == set(LEARNERS)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_the_task_asks_for_is_carried_over_and_the_rest_is_the_algorithms_own(
    name: str,
) -> None:
    preset = PRESETS["dialogue"][1].algorithm
    config = config_for(name, preset)
    assert (config.n_episodes, config.micro_batch_size, config.kl_coef) == (256, 16, 0.05)
    assert config.learning_rate == (1e-3 if name == "trpo" else 1e-4)
    assert name_of(config) == name


def test_an_application_has_settings_of_its_own_for_some_algorithms() -> None:
    dialogue = APPLICATIONS["dialogue"]
    ppo, sb3 = (dialogue.with_algorithm(name).algorithm for name in ("ppo", "sb3-ppo"))
    assert (ppo,) == dialogue.others
    assert (name_of(sb3), sb3.gae_lambda) == ("sb3-ppo", 1.0)  # as it takes over from PPO
    assert dialogue.with_algorithm("rloo") == with_algorithm(dialogue.preset, "rloo")
    assert dialogue.with_algorithm("trajectory-balance") == dialogue.preset


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_saved_config_gives_the_algorithm_back(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    config = dataclasses.replace(
        with_algorithm(PRESETS["toy"][1], name), output=tmp_path, name="run"
    )
    text = json.dumps(described("toy", config), default=str)
    (folder / "config.json").write_text(text)
    assert read_config(folder).config == config


def test_an_unknown_learner_in_a_saved_config_is_named(tmp_path: Path) -> None:
    values = described("toy", PRESETS["toy"][1]) | {"learner": "sarsa"}
    (tmp_path / "config.json").write_text(json.dumps(values, default=str))
    with pytest.raises(ValueError, match=r"must have as learner one of \[.*\], got 'sarsa'"):
        read_config(tmp_path)


@pytest.mark.parametrize("name", OWN)
def test_a_run_from_the_toy_to_its_summary(name: str, tmp_path: Path) -> None:
    config = with_algorithm(PRESETS["toy"][1], name)
    config = dataclasses.replace(
        config, output=tmp_path, name="run", total_episodes=128, eval_episodes=64, threads=1
    )
    folder = run("toy", config)
    figures = json.loads((folder / "summary.json").read_text())
    assert (figures["episodes"], figures["updates"]) == (128, 2)
    assert (folder / "policy" / "model.safetensors").exists()


def test_help_shows_the_options_of_the_algorithm_that_is_named() -> None:
    def help_of(*arguments: str) -> str:
        command = [sys.executable, "-m", "agents.train", "toy", *arguments, "--help"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "--algorithm.group-size" in help_of("--algorithm", "rloo")
    assert "--algorithm.scale-by" in help_of("--algorithm=grpo")
    assert "--algorithm.group-size" not in help_of()
    assert "--algorithm.gae-lambda" in help_of()


def test_an_averaged_policy_is_evaluated_and_saved_beside_the_other(tmp_path: Path) -> None:
    config = PRESETS["toy"][1]
    config = dataclasses.replace(
        config,
        algorithm=dataclasses.replace(config.algorithm, ema_decay=0.9),
        output=tmp_path,
        name="run",
        total_episodes=128,
        eval_episodes=64,
        threads=1,
    )
    folder = run("toy", config)
    figures = json.loads((folder / "summary.json").read_text())
    assert 0 < figures["kl_averaged"] < figures["kl_after"]
    own, averaged = (
        load_file(folder / name / "model.safetensors") for name in ("policy", "policy-averaged")
    )
    assert any(not torch.equal(own[name], averaged[name]) for name in own)


@pytest.mark.parametrize(("name", "rule"), [("rloo", "without a value network"), ("ppo", "False")])
def test_values_that_an_algorithm_does_not_learn_are_refused(
    name: str, rule: str, tmp_path: Path
) -> None:
    config = with_algorithm(PRESETS["toy"][1], name)
    config = dataclasses.replace(config, policy=PolicyConfig(action_values=True), output=tmp_path)
    with pytest.raises(ValueError, match=f"action_values.* {rule}.*got True"):
        run("toy", config)
