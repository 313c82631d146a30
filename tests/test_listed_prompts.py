"""Prompts that somebody has listed, in a file or a data set."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from agents.runs.listed_prompts import anchored_prompts, read_listed
from agents.runs.prompts import load_prompts
from text_gym import Prompt

ROWS = [{"question": f"{n}+1=", "answer": str(n + 1), "level": n} for n in range(20)]
COLUMNS = {"prompt": "question", "reference": "answer"}


class Table(list[dict[str, Any]]):
    """What the library calls a data set: rows, and the names of columns."""

    @property
    def column_names(self) -> list[str]:
        return list(self[0])


class Library(ModuleType):
    """Stands for the library `datasets`, which takes long to install, and keeps what it is asked.

    A folder holds the splits that are files in it; the hub knows one name.
    """

    class DatasetDict(dict[str, Table]):
        """Splits by name."""

    exceptions = SimpleNamespace(DatasetsError=KeyError)

    def load_from_disk(self, folder: str) -> Any:
        files = sorted(Path(folder).glob("*.json"))
        if not files:
            raise FileNotFoundError(f"{folder} is no data set")
        found = {file.stem: Table(json.loads(file.read_text())) for file in files}
        return found["alone"] if "alone" in found else self.DatasetDict(found)

    def load_dataset(self, name: str, config: str | None, *, split: str) -> Table:
        if name != "owner/sums":
            raise ConnectionError(f"Couldn't reach {name!r} on the Hub (OfflineModeIsEnabled)")
        return Table([{"prompt": f"{config} {split}"}])


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library("datasets")
    monkeypatch.setitem(sys.modules, "datasets", library)
    return library


def folder_of(tmp_path: Path, *splits: str) -> str:
    for split in splits:
        (tmp_path / f"{split}.json").write_text(json.dumps(ROWS))
    return str(tmp_path)


def test_rows_come_with_references_and_metadata(tmp_path: Path, library: Library) -> None:
    name = json.dumps({folder_of(tmp_path, "alone"): COLUMNS})
    assert read_listed(name)[3] == Prompt("3+1=", "4", {"level": 3})


def test_a_tenth_is_held_out_as_of_a_file(tmp_path: Path, library: Library) -> None:
    split = load_prompts(json.dumps({folder_of(tmp_path, "alone"): COLUMNS}), Console())
    assert (len(split.train), len(split.heldout)) == (18, 2)


def test_a_split_is_learnt_from_and_another_evaluated(tmp_path: Path, library: Library) -> None:
    folder = folder_of(tmp_path, "train", "test")
    (tmp_path / "test.json").write_text(json.dumps(ROWS[:3]))
    test = json.dumps({folder: {**COLUMNS, "split": "test"}})
    split = load_prompts(json.dumps({folder: COLUMNS}), Console(), test)
    assert (len(split.train), len(split.heldout)) == (20, 3)


def test_a_name_on_the_hub(library: Library) -> None:
    assert read_listed("hub:owner/sums") == [Prompt("None train")]
    said = json.dumps({"hub:owner/sums": {"config": "main", "split": "test"}})
    assert read_listed(said) == [Prompt("main test")]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("hub:owner/other", "got hub:owner/other: Couldn't reach 'owner/other' on the Hub"),
        ("FOLDER/empty", "must be a data set that can be loaded, got .*empty is no data set"),
        ("FOLDER", r"be told which is, as {\"FOLDER\": {\"prompt\": \"question\"}}, got \['ques"),
        ('{"FOLDER": {"split": "dev"}}', r"name a split of .*, \['train'\], got 'dev'"),
        ('{"FOLDER": {"prompt": "text"}}', r"name columns of .*, \['question', .*got \['text'\]"),
        ('{"FOLDER": {"column": "text"}}', "must say texts of .*, by .*got {'column': 'text'}"),
        ('{"FOLDER": {"split": 1}}', "must say texts of"),
        ('{"FOLDER": {}, "other": {}}', "must be of one place"),
        ('{"Hi": {"split": "test"}}', "must be a folder of datasets or hub:owner/name to say"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, library: Library, name: str, rule: str) -> None:
    folder = folder_of(tmp_path, "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=rule.replace("FOLDER", folder)) as error:
        read_listed(name.replace("FOLDER", folder))
    assert "\n" not in str(error.value)


def test_it_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "saved").mkdir()
    monkeypatch.chdir(tmp_path)
    assert anchored_prompts("saved") == str(tmp_path / "saved")
    said = anchored_prompts('{"saved": {"split": "test"}}')
    assert json.loads(said) == {str(tmp_path / "saved"): {"split": "test"}}
    for text in ("How are you?", "{name}, how are you?", "{"):
        assert anchored_prompts(text) == text
        assert read_listed(text) == [Prompt(text)]
    assert anchored_prompts("hub:owner/sums") == "hub:owner/sums"


def test_the_library_itself(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra datasets is not installed")
    datasets.disable_progress_bars()
    saved = datasets.Dataset.from_list(ROWS)
    splits = datasets.DatasetDict(train=saved, test=saved.select(range(3)))
    splits.save_to_disk(str(tmp_path / "saved"))
    test = json.dumps({str(tmp_path / "saved"): {**COLUMNS, "split": "test"}})
    assert read_listed(test)[2] == Prompt("2+1=", "3", {"level": 2})
    with pytest.raises(ValueError, match="Couldn't reach 'owner/sums' on the Hub"):
        read_listed("hub:owner/sums")
