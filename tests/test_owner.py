"""Whose a run's folder is: names, new folders, and the lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.runs.owner import LOCK, FolderInUse, new_folder, owned, require_name, require_new


@pytest.mark.parametrize("name", ["", ".", "..", "../run", "/run", "a/b", "run/", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name must be one component of a path, got "):
        require_name(name)
    with pytest.raises(ValueError, match="name must be"), new_folder(tmp_path / "runs", name, "d"):
        pass
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["run", "[red]", "a b", "…", ".run", "-"])
def test_any_other_name_is_that_of_a_folder(name: str, tmp_path: Path) -> None:
    with new_folder(tmp_path, name, "default") as folder:
        assert folder == tmp_path / name
        assert folder.is_dir()


def test_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    with (
        new_folder(tmp_path / "runs", None, "toy") as one,
        new_folder(tmp_path / "runs", None, "toy") as other,
        new_folder(tmp_path / "runs", None, "toy") as third,
    ):
        assert [one.name, other.name, third.name] == ["toy", "toy-2", "toy-3"]


def test_a_run_that_began_keeps_its_folder(tmp_path: Path) -> None:
    with new_folder(tmp_path, "run", "default") as folder:
        (folder / "config.json").touch()
    with (
        pytest.raises(FileExistsError, match=r"agents\.resume .*run"),
        new_folder(tmp_path, "run", "default"),
    ):
        pass
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError, match="the folder of a run must be new"):
            require_new(tmp_path / name)


def test_a_run_that_was_killed_before_it_began_can_be_started_under_its_name(
    tmp_path: Path,
) -> None:
    with new_folder(tmp_path, "run", "default") as folder:
        (folder / ".config.json.partial").write_text("{")
    with new_folder(tmp_path, "run", "default") as again:
        assert again == folder


def test_a_folder_is_held_until_its_block_ends(tmp_path: Path) -> None:
    with owned(tmp_path):
        with pytest.raises(FolderInUse), owned(tmp_path):
            pass
        with pytest.raises(FolderInUse), owned(tmp_path):
            pass
    with owned(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
