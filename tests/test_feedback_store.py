"""The store of a study: rows that are only added, and on disk once acknowledged."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from text_gym.feedback import (
    Completion,
    Item,
    Judgement,
    Preferred,
    Skip,
    Store,
    StudyConfig,
    create_study,
    open_study,
)
from text_gym.feedback.items import fitted, item_from_json, item_to_json
from text_gym.feedback.owner import StudyInUse, served_at, serving


def item(name: str = "one", *texts: str) -> Item:
    return Item(name, "The film was", tuple(map(Completion, texts or (" good.", " bad."))))


def judgement(name: str, annotator: str, of: str = "one", answer: object = None) -> Judgement:
    said = Preferred(0) if answer is None else answer
    return Judgement(name, annotator, of, (1, 0), said, 10.0, 12.5, 1)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "feedback.sqlite") as opened:
        opened.items.add([item()])
        yield opened


def test_what_was_added_is_there_when_the_store_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    with Store(path) as store:
        store.items.add([item()])
        ann = store.annotators.add("Ann", role="expert", weight=2.0)
        store.judgements.add(judgement("j", ann.id))
        store.annotators.record(ann.id, "paused", "too fast")
    with Store(path) as again:
        assert again.items.all() == [item()]
        assert again.annotators.all() == [ann]
        assert again.judgements.all() == [judgement("j", ann.id)]
        assert [one.detail for one in again.annotators.events(ann.id)] == ["too fast"]


@pytest.mark.parametrize("table", ["judgements", "items", "annotators", "events", "documents"])
def test_no_row_is_changed_or_deleted_by_anybody(store: Store, table: str, tmp_path: Path) -> None:
    ann = store.annotators.add("Ann")
    store.annotators.record(ann.id, "consented")
    store.judgements.add(judgement("j", ann.id))
    store.judgements.undo("j")
    store.documents.enter("guidelines", "Be kind.")
    foreign = sqlite3.connect(tmp_path / "feedback.sqlite")
    column = foreign.execute(f"PRAGMA table_info({table})").fetchone()[1]
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = 7"):
        with pytest.raises(sqlite3.IntegrityError, match=f"{table} are only added"):
            foreign.execute(statement)
    foreign.close()


def test_undo_is_another_row(store: Store) -> None:
    store.judgements.add(judgement("j", "ann"))
    store.judgements.undo("j")
    assert store.judgements.standing() == store.judgements.counted() == []
    assert store.judgements.all() == [judgement("j", "ann")]
    assert set(store.judgements.undone()) == {"j"}


def test_an_id_is_answered_once(store: Store) -> None:
    store.judgements.add(judgement("j", "ann"))
    with pytest.raises(sqlite3.IntegrityError):
        store.judgements.add(judgement("j", "bob"))
    assert store.judgements.all() == [judgement("j", "ann")]


def test_skips_and_the_excluded_do_not_count(store: Store) -> None:
    store.judgements.add(judgement("1", "ann", answer=Skip()))
    store.judgements.add(judgement("2", "bob"))
    store.annotators.record("bob", "excluded", "asleep")
    assert store.judgements.counted() == []
    store.annotators.record("bob", "included")
    assert store.judgements.counted() == [judgement("2", "bob")]


def test_another_item_of_the_same_id_is_refused_and_none_is_added(store: Store) -> None:
    with pytest.raises(ValueError, match="ids of items must be unique"):
        store.items.add([item("two"), item("one", " x", " y")])
    assert store.items.all() == [item()]
    assert store.items.add([item(), item("two")]) == 1


def test_a_text_has_a_version_each_time_it_was_changed(store: Store) -> None:
    versions = [store.documents.enter("guidelines", text) for text in ("a", "a", "b", "a")]
    assert versions == [1, 1, 2, 3]
    assert store.documents.text("guidelines", 2) == "b"
    assert store.documents.newest("guidelines") == (3, "a")


def test_something_else_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("milk, bread, and so on and so forth" * 9)
    with pytest.raises(ValueError, match="must be a store of a study"):
        Store(tmp_path / "notes")


def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    with Store(path) as store:
        store.items.add([item()])
        store._database.write("PRAGMA max_page_count = 26")
        acknowledged = []
        with contextlib.suppress(sqlite3.OperationalError):  # the disk is full
            for number in range(2000):
                store.judgements.add(judgement(str(number), f"ann {number}"))
                acknowledged.append(str(number))
        assert 0 < len(acknowledged) < 2000
        store._database.write("PRAGMA max_page_count = 2600")
        store.judgements.add(judgement("after", "ann"))
    with Store(path) as again:
        assert [one.id for one in again.judgements.all()] == [*acknowledged, "after"]


WRITER = """
import sys
from pathlib import Path
from text_gym.feedback import Judgement, Preferred, Store
store = Store(Path(sys.argv[1]))
for number in range(100_000):
    store.judgements.add(
        Judgement(f"{sys.argv[2]}-{number}", "ann", "one", (0, 1), Preferred(1), 1.0, 2.0, 1)
    )
    print(f"{sys.argv[2]}-{number}", flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "feedback.sqlite"
    with Store(path) as store:
        store.items.add([item()])
    acknowledged = []
    for run in range(4):
        command = [sys.executable, "-c", WRITER, str(path), str(run)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            acknowledged += [next(writer.stdout).strip() for _ in range(5 + 7 * run)]
            writer.kill()
            acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    with Store(path) as store:
        kept = [one.id for one in store.judgements.all()]
        assert store._database.first("PRAGMA integrity_check") == ("ok",)
    assert set(acknowledged) <= set(kept)
    assert len(kept) <= len(acknowledged) + 4  # written, and killed before it could say so


# Items


def test_items_are_what_they_were_after_a_trip_through_json() -> None:
    row = {
        "id": "a", "prompt": [{"role": "user", "content": "Hi"}], "audience": "experts",
        "completions": [{"text": "x", "source": "m", "provenance": {"seed": 1}}, "y"],
        "purpose": "gold", "expected": {"preferred": 1}, "explanation": "why", "metadata": {"k": 1},
    }  # fmt: skip
    assert item_to_json(item_from_json(row)) == row


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p"}, "must have completions, got none"),
        ({"prompt": 3, "completions": ["x"]}, "the prompt of an item must be"),
        ({"prompt": "p", "completions": "xy"}, "completions of an item must be a list"),
        ({"prompt": "p", "completions": ["x"], "colour": 1}, "got 'colour'"),
        ({"prompt": "p", "completions": ["x"], "purpose": "gold"}, "expected is missing"),
        ({"prompt": "p", "completions": [{"txt": 1}]}, "got 'txt'"),
        ({"prompt": "p", "completions": ["x"], "expected": {"preferred": True}}, "an answer must"),
        ({"prompt": "p", "completions": ["x"], "id": ""}, "the id of an item must have 1 to"),
    ],
)
def test_a_bad_item_is_refused_with_the_reason(row: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        item_from_json(row)


def test_items_without_an_id_are_named_by_what_is_seen_of_them() -> None:
    one = item_from_json({"prompt": "p", "completions": [{"text": "x", "source": "m"}]})
    same = item_from_json({"prompt": "p", "completions": ["x"], "metadata": {"k": 1}})
    other = item_from_json({"prompt": "p", "completions": ["y"]})
    assert one.id == same.id != other.id


def test_items_are_taken_apart_as_the_mode_needs_it() -> None:
    three = item("a", "x", "y", "z")
    assert [one.id for one in fitted([three], "rate")] == ["a/0", "a/1", "a/2"]
    assert fitted([three], "rank") == [three]
    with pytest.raises(ValueError, match="'a' must have 2 completions, got 1"):
        fitted([item("a", "x")], "compare")


# The study's folder


def test_a_study_is_made_and_opened(tmp_path: Path) -> None:
    config = StudyConfig(title="Films", overlap=2, max_overlap=3)
    create_study(tmp_path / "films", config, [item("a", "x", "y", "z")], consent="You agree.")
    study = open_study(tmp_path / "films")
    assert study.config == config
    with study.open() as store:
        assert [one.id for one in store.items.all()] == ["a/0-1", "a/0-2", "a/1-2"]
        assert store.documents.newest("consent") == (1, "You agree.\n")


def test_a_folder_with_something_in_it_is_not_a_new_study(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="the folder of a study must be new"):
        create_study(tmp_path, StudyConfig(), [item()])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('{"mode": "guess"}', "mode of study.json must be one of"),
        ('{"overlap": 0}', "overlap must be at least 1"),
        ('{"overlap": "2"}', "overlap of study.json must be a int"),
        ('{"colour": 1}', "got 'colour'"),
        ('{"rules": {"fast": 1}}', "rules may have the fields"),
        ("{", "Expecting"),
    ],
)
def test_settings_that_are_wrong_are_named(tmp_path: Path, settings: str, message: str) -> None:
    (tmp_path / "study.json").write_text(settings)
    with pytest.raises(ValueError, match=message):
        open_study(tmp_path)


def test_a_study_is_served_once_at_a_time(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from text_gym.feedback.owner import serving
with serving(Path({str(tmp_path)!r}), "http://127.0.0.1:1"):
    print("held", flush=True)
    input()
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as one:
        assert one.stdout is not None
        assert next(one.stdout) == "held\n"
        for _ in range(2):  # the refused one does not blur who holds it
            with (
                pytest.raises(StudyInUse, match=f"process {one.pid} at http://127.0.0.1:1"),
                serving(tmp_path, "elsewhere"),
            ):
                pass
        one.kill()
    with serving(tmp_path, "here"):
        assert served_at(tmp_path) == "here"
    assert served_at(tmp_path) is None
