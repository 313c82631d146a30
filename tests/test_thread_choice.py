"""The number of threads that a run measures: which are tried, which is taken, what it leaves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.applications.fine_tuning import FineTuning
from agents.applications.registry import PRESETS
from agents.loop.options import DIALOGUE_LOOP
from agents.loop.pipeline import run as run_loop
from agents.runs import pipeline, thread_choice
from agents.runs.thread_choice import numbers_of_threads, speeds_with, with_fastest_threads


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("cores", "numbers"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (6, [1, 2, 3, 4, 6]), (16, [1, 2, 3, 4, 8, 16])],
)
def test_all_numbers_up_to_four_are_tried_then_powers_and_that_of_the_cores(
    cores: int, numbers: list[int]
) -> None:
    assert numbers_of_threads(cores) == numbers


class Learner:
    """Makes updates at speeds that were said beforehand, and notes with how many threads."""

    def __init__(self, *speeds: float) -> None:
        self.callbacks: list[Any] = []
        self.n_episodes = 0
        self.threads: list[int] = []
        self._speeds = iter(speeds)

    def learn(self, total_episodes: int) -> None:
        assert total_episodes == self.n_episodes + 1
        self.n_episodes += 8
        self.threads.append(torch.get_num_threads())
        for callback in self.callbacks:
            callback.on_update_end(self, {"time/tokens_per_second": next(self._speeds)})


def test_the_numbers_take_turns_and_the_fastest_update_of_each_counts() -> None:
    learner = Learner(1, 9, 5, 7, 6, 8)
    assert speeds_with(learner, [1, 2]) == {1: 6, 2: 9}
    assert learner.threads == [1, 2, 1, 2, 1, 2]


def test_the_fastest_number_is_taken_and_all_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(thread_choice, "cores", lambda: 3)
    config = PRESETS["toy"][1]
    chosen = with_fastest_threads(config, lambda _: Learner(*[100, 12_000, 30] * 3))
    assert chosen == dataclasses.replace(config, threads=2)
    said = "Threads: 2, as tokens per second were 100 with 1, 12,000 with 2, 30 with 3"
    assert " ".join(capsys.readouterr().out.split()) == said


def test_one_core_is_said_and_nothing_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(thread_choice, "cores", lambda: 1)

    def build(_: FineTuning) -> None:
        raise AssertionError("nothing must be built")

    assert with_fastest_threads(PRESETS["toy"][1], build).threads == 1
    assert "Threads: 1, as there is one core" in capsys.readouterr().out


def small(output: Path, name: str, threads: Any) -> FineTuning:
    config = PRESETS["toy"][1]
    ppo = dataclasses.replace(config.algorithm, n_episodes=8, batch_size=4, n_epochs=1)
    return dataclasses.replace(
        config, algorithm=ppo, output=output, name=name, total_episodes=8, num_envs=8,
        eval_episodes=8, max_new_tokens=4, threads=threads,
    )  # fmt: skip


def test_a_run_that_measured_is_the_run_that_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_choice, "cores", lambda: 2)
    monkeypatch.setattr(thread_choice, "_ROUNDS", 1)
    measure: Callable[..., dict[int, float]] = thread_choice.speeds_with

    def preferring(agent: Any, numbers: list[int]) -> dict[int, float]:
        assert all(speed > 0 for speed in measure(agent, numbers).values())
        return {one: float(one == 1) for one in numbers}

    monkeypatch.setattr(thread_choice, "speeds_with", preferring)
    state = torch.get_rng_state()
    measured = pipeline.run("toy", small(tmp_path, "measured", "measured"))
    assert torch.equal(torch.get_rng_state(), state)
    told = pipeline.run("toy", small(tmp_path, "told", 1))
    for file in ("config.json", "summary.json"):
        assert json.loads((measured / file).read_text())["threads"] == 1, file
    for file in ("policy/model.safetensors", "samples.jsonl", "replies.json", "start.json"):
        assert (measured / file).read_bytes() == (told / file).read_bytes(), file


def test_a_loop_of_rounds_wants_a_number(tmp_path: Path) -> None:
    options: dict[str, Any] = {"threads": "measured", "output": tmp_path}
    with pytest.raises(ValueError, match="threads must be an int or None, got 'measured'"):
        run_loop(dataclasses.replace(DIALOGUE_LOOP, **options))
