"""A talk with models, and runs beside one another."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym
import pytest
from transformers import GPT2Config

from agents import CausalLMPolicy, PolicyConfig
from agents.applications.registry import APPLICATIONS
from agents.runs import chatting, comparing, pipeline
from agents.runs.chatting_options import Chatting
from agents.runs.comparing_options import Comparing
from agents.runs.named_models import Manner
from text_gym import Episode

SMALL = {"total_episodes": 16, "num_envs": 8, "eval_episodes": 8, "threads": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, made = tmp_path_factory.mktemp("runs"), []
    for name, rate in (("slow", 1e-4), ("fast", 1e-3)):
        config = APPLICATIONS["dialogue"].with_algorithm("ppo")
        ppo = dataclasses.replace(config.algorithm, n_episodes=8, batch_size=8, learning_rate=rate)
        config = dataclasses.replace(
            config, algorithm=ppo, prompts="small-talk", output=folder, name=name, **SMALL
        )
        made.append(pipeline.run("dialogue", config))
    return made


@pytest.mark.slow
def test_before_and_after_reply_to_every_line(
    runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    chatting.run(Chatting(models=(str(runs[0]),), threads=1), ["Hi there!", "How are you?", ""])
    said = capsys.readouterr().out
    assert said.count("(before): ") == 2
    assert said.replace("\n", "").count(f"{runs[0]}: ") == 2
    assert said.count("(reward ") == 4


@pytest.mark.slow
def test_the_same_seed_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    talks = []
    for lines in (["Hi there!", "", "never read"], ["Hi there!"]):
        chatting.run(Chatting(models=("small-talk",), seed=3, threads=1), lines)
        talks.append(capsys.readouterr().out)
    assert talks[0] == talks[1]
    assert "reward" not in talks[0]


def test_a_reward_that_reads_an_expected_answer_says_nothing_of_a_typed_line() -> None:
    def exact(episodes: Sequence[Episode]) -> list[float]:
        return [float(one.completion == one.metadata["answer"]) for one in episodes]

    shown = chatting._shown("model", Episode.from_text("Hi", "so"), exact)
    assert "no reward without" in shown.plain


def test_lines_come_from_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert [line.strip() for line in chatting._typed(chatting.run_console())] == ["one", "two"]


def test_what_cannot_be_read_is_answered_and_not_remembered() -> None:
    envs = gym.make_vec("TextGen-v0", num_envs=1)
    shape = GPT2Config(vocab_size=33, n_positions=24, n_embd=8, n_layer=1, n_head=1)
    shape.bos_token_id = shape.eos_token_id = 32
    policy = CausalLMPolicy.from_config(shape, PolicyConfig(value_network="none"))
    manner = Manner("{prompt}", max_new_tokens=4, chat=False)
    speaker = chatting.Speaker(policy, envs.unwrapped.task.tokenizer, manner, seed=0)  # type: ignore
    shown = chatting._answered("toy", speaker, "hello zebra", None).plain
    assert shown.startswith("toy: text must consist of the vocabulary's tokens")
    assert "'zebra' is unknown" in shown
    assert "at most 24 tokens" in chatting._answered("toy", speaker, "hello " * 30, None).plain
    assert chatting._answered("toy", speaker, "hello", None).plain.startswith("toy: ")
    assert [one["content"] for one in speaker._said if one["role"] == "user"] == ["hello"]


def test_somebody_must_talk() -> None:
    with pytest.raises(ValueError, match="models must be named, got none"):
        chatting.run(Chatting(models=()))


@pytest.mark.slow
def test_runs_beside_one_another(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = comparing.run(Comparing(runs=tuple(runs), output=tmp_path))
    shown = capsys.readouterr().out
    assert "slow" in shown
    assert "fast" in shown
    html, report = page.read_text(), json.loads((tmp_path / "report.json").read_text())
    summary = json.loads((runs[0] / "summary.json").read_text())
    assert report["figures"]["slow"] == summary
    ended, curves, asked = report["sections"]
    rows = {label: cells for label, *cells in ended["blocks"][0]["rows"]}
    after = rows["reward, after"][0]
    assert after["value"] == summary["reward_after"]
    assert after["half_width"] == summary["reward_half_width_after"]
    assert rows["seconds"][0]["value"] == summary["seconds"]
    assert f"{summary['reward_half_width_after']:.3f}" in shown
    assert [one["title"] for one in curves["blocks"]][:2] == ["Reward", "Distance"]
    assert {row[0]: row[1:] for row in asked["blocks"][0]["rows"]} == {
        "algorithm.learning_rate": ["0.0001", "0.001"]
    }
    assert "algorithm.learning_rate" in html


@pytest.mark.slow
def test_a_run_that_goes_on_is_compared_by_what_there_is(runs: list[Path], tmp_path: Path) -> None:
    young = tmp_path / "young"
    young.mkdir()
    (young / "config.json").write_bytes((runs[0] / "config.json").read_bytes())
    row = (runs[0] / "metrics.jsonl").read_text().splitlines()[0]
    (young / "metrics.jsonl").write_text(row + "\n" + row[: len(row) // 2])
    comparing.run(Comparing(runs=(young, runs[1]), output=tmp_path / "page"))
    report = json.loads((tmp_path / "page" / "report.json").read_text())
    assert report["figures"]["young"] == {}
    assert len(report["sections"][1]["blocks"][0]["series"][0]["x"]) == 1


def test_what_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must hold config.json, got "):
        comparing.run(Comparing(runs=(tmp_path,)))
    with pytest.raises(ValueError, match="runs must be named, got none"):
        comparing.run(Comparing(runs=()))
    with pytest.raises(ValueError, match="runs must be different"):
        comparing.run(Comparing(runs=(tmp_path, tmp_path)))
