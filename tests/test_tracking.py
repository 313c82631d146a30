"""Trackers: what a run logs, sent to libraries that know the same words."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.applications.registry import PRESETS
from agents.loop import pipeline as loop
from agents.loop.options import DIALOGUE_LOOP
from agents.runs import pipeline
from agents.runs.run_folder import RunFolder
from agents.runs.saved_config import read_config
from agents.runs.tracking import FILE, Tracker, TrackingError, trackers_of

REPLIES = [{"prompt": "Hi|", "before": "so\ud83d", "after": "glad", "score_after": 1.0}]


class Library(ModuleType):
    """A stand-in for a tracking library, which remembers what it was told."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[dict[str, Any], int]] = []
        self.ended = 0

    def init(self, **arguments: Any) -> Any:
        self.begun.append(arguments)
        return SimpleNamespace(log=self._log, finish=self._finish)

    def Table(self, columns: list[str], data: list[list[Any]]) -> Any:
        return columns, data

    def _log(self, metrics: dict[str, Any], step: int) -> None:
        self.logged.append((metrics, step))

    def _finish(self) -> None:
        self.ended += 1


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Library]:
    def of(name: str) -> Library:
        library = Library(name)
        monkeypatch.setitem(sys.modules, name, library)
        return library

    return of


def test_what_came_of_a_run_that_had_nothing_left_to_learn_is_sent_at_its_end(
    tmp_path: Path, install: Callable[[str], Library]
) -> None:
    library = install("wandb")
    tracker = Tracker("wandb", tmp_path)
    tracker.on_training_start(agent(3), 24)
    tracker.on_outcome({}, [])
    assert [step for _, step in library.logged] == [24]


@pytest.mark.parametrize("saved", ["{}", '{"id": "../../x"}', "[", '{"id": 3}'])
def test_an_id_that_no_run_wrote_is_refused(
    saved: str, tmp_path: Path, install: Callable[[str], Library]
) -> None:
    library = install("wandb")
    (tmp_path / FILE).write_text(saved)
    with pytest.raises(ValueError, match=r"tracking\.json must hold"):
        Tracker("wandb", tmp_path)
    assert library.begun == []


def test_a_run_sends_its_updates_and_what_came_of_it(
    tmp_path: Path, install: Callable[[str], Library]
) -> None:
    library = install("trackio")
    config = dataclasses.replace(
        PRESETS["toy"][1], total_episodes=128, eval_episodes=8, output=tmp_path, name="run",
        threads=1, track=("trackio",),
    )  # fmt: skip
    folder = pipeline.run("toy", config)
    assert [step for _, step in library.logged] == [64, 128, 128]
    assert library.logged[0][0]["rollout/score_mean"] > 0
    outcome, _ = library.logged[-1]
    assert len(outcome["replies"][1]) == 8
    assert library.begun[0]["config"]["track"] == ["trackio"]
    assert library.ended == 1
    assert read_config(folder).config.track == ("trackio",)


def test_a_loop_refuses_a_tracker_that_is_missing_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = dataclasses.replace(DIALOGUE_LOOP, output=tmp_path, track=("wandb",))
    with pytest.raises(ModuleNotFoundError, match=r"text-gym\[tracking\]"):
        loop.run(config)
    assert list(tmp_path.iterdir()) == []


def test_those_that_began_are_closed_where_another_would_not(
    tmp_path: Path,
    install: Callable[[str], Library],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def init(**_: Any) -> Any:
        raise OSError("no room")

    wandb = install("wandb")
    monkeypatch.setattr(install("trackio"), "init", init)
    config = SimpleNamespace(track=("wandb", "trackio"))
    with pytest.raises(TrackingError), ExitStack() as at_the_end:
        trackers_of(config, {}, tmp_path, at_the_end)
    assert wandb.ended == 1
    assert "Sending metrics and replies to wandb, project text_gym" in capsys.readouterr().out


def agent(n: int) -> Any:
    return SimpleNamespace(n_episodes=8 * n, n_updates=n)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_metrics_and_replies_are_sent(
    name: Any, tmp_path: Path, install: Callable[[str], Library]
) -> None:
    library = install(name)
    tracker = Tracker(name, tmp_path / "run", {"reward": "word_count"})
    assert tracker.on_update_end(agent(1), {"rollout/kl": 0.5})
    tracker.on_outcome({"reward_after": 1.5, "versions": {}}, REPLIES)
    tracker.close()
    assert library.logged[0] == ({"rollout/kl": 0.5, "updates": 1}, 8)
    (outcome, step) = library.logged[1]
    assert (outcome["eval/reward_after"], step) == (1.5, 8)
    assert outcome["replies"] == (list(REPLIES[0]), [["Hi|", "so\\ud83d", "glad", 1.0]])
    assert "eval/versions" not in outcome
    assert library.ended == 1
    [begun] = library.begun
    assert (begun["project"], begun["config"]) == ("text_gym", {"reward": "word_count"})


def test_a_run_that_goes_on_is_the_same_run_there(
    tmp_path: Path, install: Callable[[str], Library]
) -> None:
    wandb, trackio = install("wandb"), install("trackio")
    both, one = SimpleNamespace(track=("wandb", "trackio")), SimpleNamespace(track=("wandb",))
    with ExitStack() as at_the_end:
        for _ in range(2):
            trackers_of(both, {}, tmp_path / "run", at_the_end)
        trackers_of(one, {}, tmp_path / "elsewhere" / "run", at_the_end)
    first, again, other = (one["id"] for one in wandb.begun)
    assert first == again != other
    assert {one["name"] for one in trackio.begun} == {f"run-{first}"}
    assert json.loads((tmp_path / "run" / FILE).read_text()) == {"id": first}
    assert all(one["resume"] == "allow" for one in wandb.begun + trackio.begun)


def test_a_tracker_that_would_not_begin_is_said_in_a_line(
    tmp_path: Path, install: Callable[[str], Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**_: Any) -> Any:
        raise OSError("no account")

    monkeypatch.setattr(install("wandb"), "init", init)
    with pytest.raises(TrackingError, match="wandb would not begin: no account"):
        Tracker("wandb", tmp_path)


def test_the_folder_has_metrics_as_csv_and_replies_for_tensorboard(tmp_path: Path) -> None:
    record = RunFolder.created(tmp_path / "run", {}, lambda history, path: None)
    record.on_training_start(agent(0), 16)
    record.on_update_end(agent(1), {"train/loss": 0.5, "train/kl": float("nan")})
    record.on_update_end(agent(2), {"train/loss": 0.25, "eval/loss": 1.0})
    record.on_training_end(agent(2))
    record.on_outcome({}, REPLIES)
    with (record.folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["train/loss"] for row in rows] == ["0.5", "0.25"]
    assert [row["eval/loss"] for row in rows] == ["", "1.0"]
    assert rows[0]["train/kl"] == ""
    events = EventAccumulator(str(record.folder)).Reload()
    [table] = events.Tensors("replies/text_summary")
    assert table.step == 16
    assert "| Hi\\| | " in table.tensor_proto.string_val[0].decode()
    assert json.loads((record.folder / "replies.json").read_text())[0]["after"] == "glad"


@pytest.mark.slow
def test_wandb_offline_keeps_one_run_in_two_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    for part in range(2):
        time.sleep(1.1 * part)  # W&B names a part's folder after the second in which it begins
        tracker = Tracker("wandb", tmp_path, {"reward": "word_count"})
        tracker.on_update_end(agent(part), {"rollout/kl": 0.5})
        tracker.on_outcome({"reward_after": 1.5}, REPLIES)
        tracker.close()
    name = json.loads((tmp_path / FILE).read_text())["id"]
    assert len(list(tmp_path.glob(f"wandb/offline-run-*-{name}/run-{name}.wandb"))) == 2
    [table, _] = tmp_path.glob("wandb/offline-run-*/files/media/table/replies_*.table.json")
    assert json.loads(table.read_text())["data"] == [["Hi|", "so\\ud83d", "glad", 1.0]]
