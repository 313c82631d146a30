"""The options of a run from a file, with the command line's last word."""

from __future__ import annotations

import dataclasses
import json
import runpy
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from agents.algorithms.configs.ppo import PPOConfig
from agents.applications.registry import APPLICATIONS
from agents.runs import config_file, pipeline
from agents.runs.prompts import load_prompts


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def printed(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: object) -> dict:
    """Returns what `python -m agents.train ... --print-config` prints."""
    monkeypatch.setattr(sys, "argv", ["train", *arguments, "--print-config"])
    monkeypatch.delitem(sys.modules, "agents.train", raising=False)
    runpy.run_module("agents.train", run_name="__main__")
    return yaml.safe_load(capsys.readouterr().out)  # type: ignore[attr-defined]


def test_a_file_says_as_little_as_it_likes(tmp_path: Path) -> None:
    path = written(
        tmp_path / "run.yaml",
        "total_episodes: 512\npolicy:\n  lora_rank: 4\nalgorithm: {learning_rate: 3e-4}\n",
    )
    said = config_file.read(path)
    preset = APPLICATIONS["dialogue"].preset
    policy = dataclasses.replace(preset.policy, lora_rank=4)
    algorithm = dataclasses.replace(preset.algorithm, learning_rate=3e-4)
    expected = dataclasses.replace(preset, total_episodes=512, policy=policy, algorithm=algorithm)
    assert said.preset is None
    assert said.applied_to("dialogue", None) == expected


def test_the_command_line_has_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "preset: toy\nlearner: ppo\ntotal_episodes: 512\nalgorithm: {n_epochs: 7}\n"
    path = written(tmp_path / "run.yaml", text)
    values = printed(["--config", str(path), "--total-episodes", "64"], monkeypatch, capsys)
    assert (values["preset"], values["learner"], values["total_episodes"]) == ("toy", "ppo", 64)
    assert values["algorithm"]["n_epochs"] == 7


def test_what_is_printed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = printed(["dialogue", "--algorithm", "rloo"], monkeypatch, capsys)
    path = written(tmp_path / "run.yaml", yaml.safe_dump(first))
    assert printed(["--config", str(path)], monkeypatch, capsys) == first
    other = printed(["--config", str(path), "--algorithm", "ppo"], monkeypatch, capsys)
    assert other["learner"] == "ppo"
    assert set(other["algorithm"]) == {one.name for one in dataclasses.fields(PPOConfig)}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: b: c", "must be YAML or JSON"),
        ("- a", r"must hold options by name, got \['a'\]"),
        ("preset: nothing", r"must name one of \['dialogue', .*\], got 'nothing'"),
        ("learner: nothing", r"must name one of \['ppo', .*\], got 'nothing'"),
        ("total_episode: 1", "there is no option 'total_episode', only"),
        ("total_episodes: many", "total_episodes must be an int, got 'many'"),
        ("algorithm: {learning_rat: 1}", "there is no option 'algorithm.learning_rat', only"),
        ("preset: [facts]", r"must name one of .*, got \['facts'\]"),
        ("total_episodes: 0", "total_episodes must be at least 1, got 0"),
        ("monitor_every: 0", "monitor_every must be at least 1, got 0"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, rule: str) -> None:
    path = written(tmp_path / "run.yaml", text)
    with pytest.raises(ValueError, match=rule):
        config_file.read(path).applied_to("dialogue", None)


def test_what_a_file_says_of_the_presets_own_algorithm_holds_where_that_is_named(
    tmp_path: Path,
) -> None:
    said = config_file.read(written(tmp_path / "run.yaml", "algorithm: {kl_coef: 0.123}"))
    for named in (None, "trajectory-balance"):
        assert said.applied_to("dialogue", named).algorithm.kl_coef == 0.123
    assert said.applied_to("dialogue", "ppo").algorithm.kl_coef == 0.05


def test_a_name_in_a_file_is_the_runs(tmp_path: Path) -> None:
    path = written(tmp_path / "run.yaml", "learner: ppo\nname: 1e4_mine\n")
    assert config_file.read(path).options == {"name": "1e4_mine"}


def test_a_value_that_is_called_as_a_preset_is_no_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "run.yaml", "preset: dialogue\n")
    values = printed(["--config", str(path), "--prompts", "toy"], monkeypatch, capsys)
    assert (values["preset"], values["prompts"]) == ("dialogue", "toy")


@pytest.mark.slow
def test_the_config_of_a_run_is_input_of_the_next(tmp_path: Path) -> None:
    config = APPLICATIONS["toy"].with_algorithm("ppo")
    ppo = dataclasses.replace(config.algorithm, n_episodes=8, batch_size=8)
    small = {"total_episodes": 16, "num_envs": 8, "eval_episodes": 8, "threads": 1}
    config = dataclasses.replace(config, algorithm=ppo, output=tmp_path, name="one", **small)
    folder = pipeline.run("toy", config)
    said = config_file.read(folder / "config.json")
    again = said.applied_to("toy", None)
    assert dataclasses.replace(again, name="one") == pipeline.read_config(folder).config


def test_prompts_to_be_evaluated_on_are_named_apart(tmp_path: Path) -> None:
    train = written(tmp_path / "train.txt", "\n".join(map(str, range(20))))
    rows = [{"prompt": "a", "reference": "b"}, {"prompt": "c"}]
    heldout = written(tmp_path / "test.jsonl", "\n".join(map(json.dumps, rows)))
    split = load_prompts(str(train), Console(), str(heldout))
    assert len(split.train) == 20
    assert [one.text for one in split.eval_prompts] == ["a", "c"]
    assert split.eval_prompts[0].reference == "b"
    named = load_prompts(str(train), Console(), "small-talk")
    assert named.eval_prompts == load_prompts("small-talk", Console()).heldout
