"""Publishing a model: what goes to the hub, which no test reaches."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.reports import Code, Section
from agents.reports.model_card import model_card
from agents.runs import pushing
from agents.runs.pushing import PushError
from agents.runs.pushing_options import Pushing


class Hub:
    """A stand-in for the hub, which remembers what it was given."""

    def __init__(self) -> None:
        self.repos: dict[str, bool] = {}
        self.files: dict[str, bytes] = {}

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> None:
        self.repos[repo] = private

    def create_commit(self, repo: str, operations: Any, commit_message: str) -> Any:
        for one in operations:
            with one.as_file() as file:
                self.files[one.path_in_repo] = file.read()
        return SimpleNamespace(repo_url=f"https://huggingface.co/{repo}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(pushing, "HfApi", lambda: hub)
    monkeypatch.setattr(pushing, "get_token", lambda: "a token")
    monkeypatch.setattr(pushing.constants, "HF_HUB_OFFLINE", False)
    return hub


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    policy = tmp_path / "run" / "policy"
    (policy / "more").mkdir(parents=True)
    (policy.parent / "config.json").write_text('{"preset": "toy", "learner": "ppo"}')
    code = 'pipeline("text-generation", model=".")\nfrom_pretrained(".")'
    (policy / "README.md").write_text(model_card("a", [Section("S", [Code(code)])]))
    (policy / "config.json").write_text("{}")
    (policy / ".README.md.partial").write_text("half")
    return policy.parent


def test_files_and_card_go_where_they_are_named(
    hub: Hub, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pushing.run(Pushing(model=run_folder, repo="me/it")) == "https://huggingface.co/me/it"
    assert hub.repos == {"me/it": True}
    assert hub.files.keys() == {"README.md", "config.json"}
    card = hub.files["README.md"].decode()
    assert 'model="me/it"' in card
    assert 'from_pretrained("me/it")' in card
    assert 'model="."' in (run_folder / "policy" / "README.md").read_text()
    assert "names no licence" in capsys.readouterr().out


def test_the_folder_of_a_model_is_one_too(hub: Hub, run_folder: Path) -> None:
    pushing.run(Pushing(model=run_folder / "policy", repo="me/it", private=False))
    assert hub.repos == {"me/it": False}


def test_links_and_files_that_no_model_has_are_not_sent(
    hub: Hub, run_folder: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "id_rsa"
    secret.write_text("secret")
    (run_folder / "policy" / "notes.txt").symlink_to(secret)
    asked = Pushing(model=run_folder, repo="me/it")
    pushing.run(asked)
    assert "notes.txt" not in hub.files
    (run_folder / "policy" / "merges.txt").symlink_to(secret)
    hub.repos.clear()
    with pytest.raises(ValueError, match=r"merges\.txt must be of the model itself, got a link"):
        pushing.run(asked)
    assert hub.repos == {}


def test_without_network_token_or_card_nothing_is_sent(
    hub: Hub, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Pushing(model=run_folder, repo="me/it")
    with pytest.raises(ValueError, match="repo must be OWNER/NAME, got 'it'"):
        pushing.run(Pushing(model=run_folder, repo="it"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pushing, "get_token", lambda: None)
        with pytest.raises(ValueError, match="hf auth login"):
            pushing.run(asked)
        patch.setattr(pushing.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(PushError, match="HF_HUB_OFFLINE"):
            pushing.run(asked)
    (run_folder / "policy" / "README.md").unlink()
    with pytest.raises(FileNotFoundError, match=r"with its README\.md, got .*run"):
        pushing.run(asked)
    assert hub.repos == {}


def test_what_the_hub_refuses_is_said_in_a_line(
    hub: Hub, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("403")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(PushError, match="me/it could not be uploaded: 403"):
        pushing.run(Pushing(model=run_folder, repo="me/it"))
