"""Folders that appear whole or not at all: killed at every stage, damaged in every way."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.checkpoints.folder import (
    MANIFEST,
    CheckpointError,
    clear_leftovers,
    remove_folder,
    require_whole,
    standing,
    write_folder,
)


def fill(content: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "one").write_text(content)
        (folder / "inner").mkdir()
        (folder / "inner" / "two").write_text(2 * content)

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "series" / "saved"


def content_of(folder: Path) -> str:
    require_whole(folder)
    return (folder / "one").read_text()


def test_a_written_folder_is_whole_and_alone(folder: Path) -> None:
    write_folder(folder, fill("a"))
    assert content_of(folder) == "a"
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]
    files = json.loads((folder / MANIFEST).read_text())["files"]
    assert files.keys() == {"one", "inner/two"}


def test_a_checkpoint_and_an_empty_folder_may_be_replaced(folder: Path) -> None:
    folder.mkdir(parents=True)
    for content in "abc":
        write_folder(folder, fill(content))
        assert content_of(folder) == content
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


def test_files_of_others_are_never_replaced(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"got .*thesis\.tex"):
        write_folder(folder, fill("a"))
    (folder / "thesis.tex").unlink()
    write_folder(folder, fill("a"))
    (folder / "inner" / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"got .*thesis\.tex"):
        write_folder(folder, fill("b"))
    assert (folder / "inner" / "thesis.tex").read_text() == "years of work"
    with pytest.raises(FileExistsError, match=r"got .*one"):
        write_folder(folder / "one", fill("a"))


class Killed(BaseException):
    """What no `except Exception` stops, as a killed process does not."""


def kill_at(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Ends the process, as it were, in place of the n-th call of a function of `os`."""
    real, calls = getattr(os, name), iter(range(1000))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(os, name, call)


STAGES = [("mkdir", 0), *(("fsync", n) for n in range(6)), ("rename", 0), ("rename", 1)]


def killed(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None], stage: Any) -> bool:
    with monkeypatch.context() as patch:
        kill_at(patch, *stage)
        try:
            action()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_killed_while_writing_it_leaves_the_old_or_the_new(
    stage: tuple[str, int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(folder, fill("old"))
    assert killed(monkeypatch, lambda: write_folder(folder, fill("new")), stage)
    assert content_of(folder) in ("old", "new")
    write_folder(folder, fill("next"))
    assert content_of(folder) == "next"
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


@pytest.mark.parametrize("stage", STAGES[:-1], ids=str)
def test_killed_while_writing_the_first_it_leaves_all_or_nothing(
    stage: tuple[str, int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert killed(monkeypatch, lambda: write_folder(folder, fill("new")), stage)
    if folder.exists():
        assert content_of(folder) == "new"
    else:
        with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
            require_whole(folder)
    write_folder(folder, fill("next"))
    assert content_of(folder) == "next"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names files by /proc")
def test_everything_is_on_the_disk_before_it_is_in_its_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        events.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    write_folder(folder, fill("a"))
    place = events.index("rename")
    assert set(events[:place]) == {"one", "inner", "two", MANIFEST, ".saved.partial"}
    assert events[place + 1 :] == ["series"]


def test_killed_while_removing_it_leaves_no_half(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(folder, fill("a"))
    assert killed(monkeypatch, lambda: remove_folder(folder), ("unlink", 1))
    assert not folder.exists()
    write_folder(folder, fill("b"))
    remove_folder(folder)
    assert list(folder.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["one", "inner/two"])
def test_damage_is_named(name: str, folder: Path) -> None:
    def damaged(message: str) -> None:
        with pytest.raises(CheckpointError, match=message):
            require_whole(folder)

    write_folder(folder, fill("a"))
    path = folder / name
    content = path.read_text()
    path.write_text(content[:-1])
    damaged(f"{name} must have {len(content)} bytes, got {len(content) - 1}")
    path.write_text("b" * len(content))
    damaged(f"the content of {name} was changed")
    path.unlink()
    damaged(f"{name} is missing")


@pytest.mark.parametrize(
    "manifest", [None, "", "{", "[]", "{}", '{"files": {"one": 3}}', '{"files": {"one": {}}}']
)
def test_without_a_manifest_nothing_is_trusted(manifest: str | None, folder: Path) -> None:
    write_folder(folder, fill("a"))
    (folder / MANIFEST).unlink()
    if manifest is not None:
        (folder / MANIFEST).write_text(manifest)
    with pytest.raises(CheckpointError, match="is no checkpoint, or a damaged one"):
        require_whole(folder)


@pytest.mark.parametrize("name", ["../outside", "{tmp_path}/outside", "link"])
def test_a_manifest_names_nothing_outside_of_its_folder(
    name: str, folder: Path, tmp_path: Path
) -> None:
    write_folder(folder, fill("a"))
    (folder.parent / "outside").write_text("a")
    (tmp_path / "outside").write_text("a")
    (folder / "link").symlink_to(tmp_path / "outside")
    content = json.loads((folder / MANIFEST).read_text())
    content["files"][name.format(tmp_path=tmp_path)] = content["files"]["one"]
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="in its manifest leads out of it"):
        require_whole(folder)


def test_what_a_link_leads_to_is_replaced_and_never_removed(folder: Path) -> None:
    write_folder(folder, fill("a"))
    link = folder.with_name("link")
    link.symlink_to(folder)
    write_folder(link, fill("b"))
    assert link.is_symlink()
    assert content_of(link) == content_of(folder) == "b"
    remove_folder(link)
    assert standing(folder.parent) == {"saved"}
    assert content_of(folder) == "b"


def test_leftovers_are_cleared_and_what_was_being_replaced_is_put_back(folder: Path) -> None:
    write_folder(folder, fill("a"))
    folder.rename(folder.with_name(".saved.replaced"))
    for name in (".saved.partial", ".other.leaving"):
        (folder.parent / name).mkdir()
    (folder.parent / ".config.json.partial").write_text("{")
    (folder.parent / ".lock").touch()
    assert standing(folder.parent) == {"saved", ".lock"}
    clear_leftovers(folder.parent)
    assert {path.name for path in folder.parent.iterdir()} == {"saved", ".lock"}
    assert content_of(folder) == "a"
    assert standing(folder / "nowhere") == set()
    clear_leftovers(folder / "nowhere")


def test_what_was_replaced_does_not_count_again_once_its_place_is_cleared(folder: Path) -> None:
    write_folder(folder, fill("a"))
    shutil.copytree(folder, folder.with_name(".saved.replaced"))
    remove_folder(folder)
    assert standing(folder.parent) == set()
