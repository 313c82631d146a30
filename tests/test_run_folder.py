"""What a run writes, and going back to an earlier point of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.checkpoints.folder import CheckpointError
from agents.runs.run_folder import RunFolder
from text_gym import Episode


class Agent:
    """Counts, and does nothing else that a callback would see."""

    def __init__(self, n_updates: int = 0) -> None:
        self.n_updates = n_updates

    @property
    def n_episodes(self) -> int:
        return 10 * self.n_updates


def metrics(value: float) -> dict[str, float]:
    return {"rollout/score_mean": value, "rollout/score_std": 0.5, "rollout/kl": 0.1}


def trained(record: RunFolder, agent: Any, until: int, sign: int = 1) -> None:
    record.on_training_start(agent, 100)
    while agent.n_updates < until:
        agent.n_updates += 1
        record.on_update_end(agent, metrics(sign * agent.n_updates))


def scores(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["rollout/score_mean"] for line in lines]


def curve(folder: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder)).Reload().Scalars("rollout/score_mean")
    return [(event.step, event.value) for event in events]


def test_going_back_cuts_off_what_came_after(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = RunFolder.created(folder, {"preset": "toy"})
    trained(record, Agent(), until=2)
    record.tokens = 70
    state = json.loads(json.dumps(record.get_state()))
    trained(record, Agent(2), until=5)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"half a li')
    record.close()  # as far as it came
    again = RunFolder(folder)
    again.set_state(state)
    assert scores(folder) == [1, 2]
    assert again.tokens == 70
    assert again.seconds == state["seconds"] > 0
    agent: Any = Agent(2)
    trained(again, agent, until=4, sign=-1)
    again.on_training_end(agent)
    assert scores(folder) == [1, 2, -3, -4]
    assert [row["rollout/score_mean"] for row in again.history] == [1, 2, -3, -4]
    assert again.seconds > state["seconds"]


def test_half_a_character_that_was_written_does_not_end_the_run(tmp_path: Path) -> None:
    record = RunFolder.created(tmp_path / "run", {"name": "\udc80"})
    episode = Episode.from_text("a\ud83d", "\ude42私")
    rollout = SimpleNamespace(
        infos=[{"text_episode": episode}],
        scores=np.ones(1),
        texts=SimpleNamespace(lengths=np.ones(1)),
    )
    record.on_rollout_end(Agent(), rollout)  # type: ignore[arg-type]
    record.write_json("replies.json", [episode.completion])
    line = json.loads((record.folder / "samples.jsonl").read_text(encoding="utf-8"))
    assert (line["prompt"], line["completion"]) == (episode.prompt, episode.completion)
    written = (record.folder / "replies.json").read_text(encoding="utf-8")
    assert json.loads(written) == [episode.completion]
    assert "\\ude42私" in written


def test_tensorboard_shows_one_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    record = RunFolder.created(folder, {})
    trained(record, Agent(), until=2)
    state = record.get_state()
    assert curve(folder) == [(10, 1), (20, 2)]  # on the disk before the checkpoint is
    trained(record, Agent(2), until=5)
    record.close()
    # Files are read in the order of their names, which begin with the second of their birth.
    monkeypatch.setattr("time.time", lambda: 4e9)
    again = RunFolder(folder)
    again.set_state(state)
    trained(again, Agent(2), until=3, sign=-1)
    again.close()
    assert curve(folder) == [(10, 1), (20, 2), (30, -3)]


def test_a_run_without_a_checkpoint_starts_over(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = RunFolder.created(folder, {})
    trained(record, Agent(), until=3)
    record.close()
    again = RunFolder(folder)
    trained(again, Agent(), until=1, sign=-1)
    again.close()
    assert scores(folder) == [-1]


def test_lost_lines_are_said_to_be_lost(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = RunFolder.created(folder, {})
    trained(record, Agent(), until=2)
    state = record.get_state()
    record.close()
    (folder / "metrics.jsonl").write_text("")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl must have the \d+ bytes.* got 0"):
        RunFolder(folder).set_state(state)


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": {}},
        {"sizes": {"metrics.jsonl": 0, "samples.jsonl": 0, "{thesis}": 0}},
        {"sizes": {"metrics.jsonl": -1, "samples.jsonl": 0}},
        {"sizes": {"metrics.jsonl": 7, "samples.jsonl": 0}},
        {"sizes": {"metrics.jsonl": "0", "samples.jsonl": 0}},
        {"sizes": {"metrics.jsonl": 0, "samples.jsonl": 4}},
        {"tokens": None},
        {"seconds": math.inf},
    ],
    ids=["none", "a path", "negative", "half a line", "text", "half a sample", "tokens", "seconds"],
)
def test_a_state_of_another_form_changes_no_file(change: Any, tmp_path: Path) -> None:
    folder, thesis = tmp_path / "run", tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    record = RunFolder.created(folder, {})
    trained(record, Agent(), until=2)
    (folder / "samples.jsonl").write_text("{}\n{}\n")
    state = json.loads(
        json.dumps({**record.get_state(), **change}).replace("{thesis}", str(thesis))
    )
    record.close()
    with pytest.raises(CheckpointError, match=r"what .*run held is not there: "):
        RunFolder(folder).set_state(state)
    assert scores(folder) == [1, 2]
    assert thesis.read_text() == "years of work"


def test_a_link_in_the_place_of_a_file_that_grows_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = RunFolder.created(folder, {})
    trained(record, Agent(), until=1)
    state = record.get_state()
    record.close()
    thesis = (folder / "metrics.jsonl").rename(tmp_path / "thesis.jsonl")
    (folder / "metrics.jsonl").symlink_to(thesis)
    content = thesis.read_bytes()
    with pytest.raises(CheckpointError, match="must be a file, got a link"):
        RunFolder(folder).set_state(state)
    again = RunFolder(folder)
    trained(again, Agent(), until=1)
    again.close()
    assert thesis.read_bytes() == content
    assert scores(folder) == [1]


def test_numbers_that_are_not_finite_are_null_in_json_and_nan_when_read(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = RunFolder.created(folder, {"list": [math.nan, {"inf": -math.inf}], "path": folder})
    text = (folder / "config.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "list": [None, {"inf": None}],
        "path": str(folder),
    }
    record.on_training_start(Agent(), 1)  # type: ignore[arg-type]
    record.on_update_end(Agent(1), {**metrics(1), "explained": math.nan})  # type: ignore[arg-type]
    state = record.get_state()
    record.close()
    (line,) = (folder / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["explained"] is None
    again = RunFolder(folder)
    again.set_state(state)
    assert math.isnan(again.history[0]["explained"])


def test_a_folder_that_is_not_new_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    config = tmp_path / "model" / "config.json"
    config.parent.mkdir()
    config.write_text("of a model")
    with pytest.raises(FileExistsError, match=f"folder of a run must be new, got {config.parent}"):
        RunFolder.created(config.parent, {"reward": 1})
    assert config.read_text() == "of a model"


def test_a_json_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    class Unwritable:
        def __str__(self) -> str:
            raise RuntimeError

    record = RunFolder.created(tmp_path / "run", {"preset": "toy"})
    with pytest.raises(RuntimeError):
        record.write_json("config.json", {"preset": Unwritable()})
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == {"preset": "toy"}
