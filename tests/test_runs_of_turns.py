"""Runs of several turns: what a config says of turns reaches every environment, and comes back."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.algorithms.configs.sb3_ppo import SB3PPOConfig
from agents.applications import registry
from agents.applications.fine_tuning import FineTuning
from agents.applications.registry import PRESETS
from agents.checkpoints.series import latest
from agents.loop.options import DIALOGUE_LOOP
from agents.runs import evaluating, inspecting, pipeline, sampling
from agents.runs.environments import make_envs
from agents.runs.evaluating_options import Evaluating
from agents.runs.inspecting_options import Inspecting
from agents.runs.named_models import manner_of
from agents.runs.sampling_options import Sampling
from agents.runs.saved_config import read_config
from text_gym import Episode, Prompt
from text_gym.constraints import Constraint, MinimumLength
from text_gym.feedback import read_items
from text_gym.rewards import WordCount
from text_gym.turns import Turn

TURNS: dict[str, Any] = {
    "responder": "echo",
    "response_template": "{response} ?",
    "max_response_tokens": 40,
    "max_turn_tokens": 4,
    "max_turns": 3,
    "constraint": "two words",
}


def echo(turns: Sequence[Turn]) -> list[str | None]:
    return [None if turn.seed % 5 == 0 else "and you" for turn in turns]


def two_words() -> list[Constraint]:
    return [MinimumLength(2)]


@pytest.fixture(autouse=True)
def brought_by_an_application() -> Iterator[None]:
    """Names a responder and a constraint, and says where the responder was told to compute."""
    named = {"responder": registry.RESPONDERS.maps, "constraint": registry.CONSTRAINTS.maps}
    named["responder"].insert(0, {"echo": lambda device: echo})
    named["constraint"].insert(0, {"two words": two_words})
    yield
    for maps in named.values():
        maps.pop(0)


def small(output: Path, name: str = "run", **changes: Any) -> FineTuning:
    config = PRESETS["toy"][1]
    ppo = dataclasses.replace(config.algorithm, n_episodes=8, batch_size=4, n_epochs=1)
    options = {
        "total_episodes": 24,
        "max_new_tokens": 12,
        "num_envs": 4,
        "eval_episodes": 8,
        "threads": 1,
        "checkpoint_every": 1,
        "algorithm": ppo,
        "output": output,
        "name": name,
    }
    return dataclasses.replace(config, **{**options, **TURNS, **changes})


def test_every_environment_of_a_run_has_its_turns(tmp_path: Path) -> None:
    envs = make_envs(small(tmp_path), [Prompt("thanks")], None, (), 2, WordCount(), responder=echo)
    task = envs.unwrapped.task
    assert task.turns is not None
    assert task.turns._asdict() == {
        "responder": echo,
        "template": "{response} ?",
        "max_response_tokens": 40,
        "max_turn_tokens": 4,
        "max_turns": 3,
    }
    assert envs.composition.constraints == tuple(two_words())


def test_a_run_of_turns_goes_on_as_it_would_have(tmp_path: Path) -> None:
    folder = pipeline.run("toy", small(tmp_path))
    assert read_config(folder).config == small(tmp_path)
    metrics = (folder / "metrics.jsonl").read_text().splitlines()
    replies = (folder / "replies.json").read_text()
    assert "\\n" in replies, "there are texts of several turns"
    (folder / "summary.json").unlink()
    shutil.rmtree(folder / "policy")
    newest = latest(folder / "checkpoints")
    assert newest is not None
    shutil.rmtree(newest)
    pipeline.resume(folder)
    assert (folder / "replies.json").read_text() == replies
    again = (folder / "metrics.jsonl").read_text().splitlines()
    assert list(map(_timeless, again)) == list(map(_timeless, metrics))


def _timeless(line: str) -> dict[str, Any]:
    return {key: one for key, one in json.loads(line).items() if not key.startswith("time/")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of turns with the small-talk model."""
    registry.RESPONDERS.maps.insert(0, {"echo": lambda device: echo})
    registry.CONSTRAINTS.maps.insert(0, {"two words": two_words})
    where = {"model": "small-talk", "reward": "word_count"}
    path = pipeline.run("toy", small(tmp_path_factory.mktemp("runs"), **where))
    registry.RESPONDERS.maps.pop(0)
    registry.CONSTRAINTS.maps.pop(0)
    return path


def test_a_finished_run_writes_as_it_learnt_to(folder: Path) -> None:
    manner = manner_of(str(folder))
    assert {name: getattr(manner, name) for name in TURNS} == TURNS


def test_a_sample_shows_what_everybody_said(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    sampling.run(Sampling(model=str(folder), prompts="How are you?", output=file, threads=1))
    texts = [one.text for item in read_items(file) for one in item.completions]
    assert texts
    assert any("\nand you\n" in text for text in texts)


def test_models_are_compared_in_the_turns_of_the_run(folder: Path, tmp_path: Path) -> None:
    options = {"eval_episodes": 8, "threads": 1, "output": tmp_path / "evaluation"}
    evaluating.run(Evaluating(models=("small-talk", str(folder)), **options))
    report = json.loads((tmp_path / "evaluation" / "report.json").read_text())
    assert "\\n" in json.dumps(report)


@pytest.mark.slow
def test_a_run_of_turns_can_be_inspected(folder: Path) -> None:
    assert inspecting.run(Inspecting(run=folder, texts=32, shown=4, threads=1)).exists()


def test_a_config_from_before_there_were_turns_goes_on(tmp_path: Path) -> None:
    plain = {name: None for name in TURNS} | {"response_template": "{response}"}
    folder = pipeline.run("toy", small(tmp_path, **plain))
    path = folder / "config.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in said.items() if k not in {*TURNS, "chat"}}))
    assert read_config(folder).config == small(tmp_path, **plain)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"responder": "nobody"}, r"responder must be None or one of \['.*\], got 'nobody'"),
        ({"constraint": "none"}, r"constraint must be None or one of \['.*\], got 'none'"),
        ({"responder": None}, "max_response_tokens must be left out without a responder"),
        ({"max_response_tokens": None}, "max_response_tokens must be given with a responder"),
        ({"max_turns": 0}, "max_turns must be at least 1, got 0"),
        ({"chat": True}, "tokenizer must be a Hugging Face one with a chat template"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline.run("toy", small(tmp_path, **changes))
    assert not (tmp_path / "run").exists()


def test_a_responder_is_not_forgotten(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="responder must be given where config names 'echo'"):
        make_envs(small(tmp_path), [Prompt("thanks")], None, (), 2, WordCount())


def test_a_loop_refuses_turns() -> None:
    with pytest.raises(ValueError, match=r"responder must be left out of a loop, .* got 'echo'"):
        dataclasses.replace(DIALOGUE_LOOP, responder="echo")


def test_stable_baselines3_is_no_learner_of_runs_of_turns(tmp_path: Path) -> None:
    algorithm = SB3PPOConfig(kl_coef=0.0, n_episodes=8, batch_size=4)
    with pytest.raises(ValueError, match=r"responder must be None for sb3-ppo, .* got 'echo'"):
        pipeline.run("toy", small(tmp_path, algorithm=algorithm))


def passages(episodes: Sequence[Episode]) -> np.ndarray:
    return np.array([float(len(one.turns)) for one in episodes])


def test_a_proxy_sees_who_said_what(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.REWARDS.maps[0], "passages", lambda: passages)
    options = {"eval_episodes": 8, "threads": 1, "output": tmp_path / "evaluation"}
    asked = Evaluating(models=("small-talk", str(folder)), proxy="passages", **options)
    means = evaluating.run(asked).other_rewards["proxy passages"]
    assert all(one.mean > 1 for one in means.values()), means


def test_a_responder_is_told_where_to_compute(tmp_path: Path) -> None:
    asked: list[torch.device] = []
    registry.RESPONDERS.maps[0]["echo"] = lambda device: asked.append(device) or echo
    pipeline.run("toy", small(tmp_path, total_episodes=8, device="cpu"))
    assert asked == [torch.device("cpu")]
