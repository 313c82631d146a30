"""Code that the folder of a run names is run only where this user has had it run before."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.applications.registry import APPLICATIONS
from agents.runs.saved_config import described, read_config, trust_runs
from agents.runs.trust import FILE, digest_of_code, trust

TOY = APPLICATIONS["toy"].with_algorithm("ppo")
TRACE = "open({path!r}, 'w').close()\ndef reward(prompt, completion): return 1.0\n"
SHELL = {"subprocess:Popen": {"arguments": {"args": ["touch", "TRACE"]}}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.py"
    path.write_text(TRACE.format(path=str(tmp_path / "trace")))
    return path


def folder_of(tmp_path: Path, **options: Any) -> Path:
    """Writes the folder of a run as anybody could have written it."""
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    said = described("toy", dataclasses.replace(TOY, **options))
    (folder / "config.json").write_text(json.dumps(said, default=str))
    return folder


def test_a_config_that_names_no_code_is_read(tmp_path: Path, cache: Path) -> None:
    config = read_config(folder_of(tmp_path, reward='{"sentiment": 2}', wrappers="ClipFeedback"))
    assert config.config.wrappers == "ClipFeedback"
    trust(vars(config.config))
    assert not (cache / FILE).exists()


@pytest.mark.parametrize(
    "options",
    [
        {"reward": "PLACE"},
        {"reward": '{"sentiment": 1, "PLACE": 1}'},
        {"reward": json.dumps(SHELL)},
        {"monitor": "PLACE"},
        {"wrappers": "PLACE"},
        {"wrappers": '{"Feedback": {"reward_function": "PLACE"}}'},
        {"wrappers": "subprocess:Popen"},
    ],
)
def test_code_is_refused_before_any_of_it_runs(
    tmp_path: Path, code: Path, options: dict[str, str]
) -> None:
    named = {name: text.replace("PLACE", f"{code}:reward") for name, text in options.items()}
    folder = folder_of(tmp_path, **named)
    with pytest.raises(ValueError, match=r"config.json names code .* give --trust-code too"):
        read_config(folder)
    assert not (tmp_path / "trace").exists()
    trust_runs([str(folder), "small-talk"])
    assert read_config(folder)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["env_id", "env_args"])
def test_an_environment_may_be_code(tmp_path: Path, code: Path, name: str) -> None:
    named = {"env_id": "TextGen-v0", "env_args": "{}"}
    named[name] = {"env_id": f"{code}:Theirs-v0", "env_args": f'{{"a": ["{code}:reward"]}}'}[name]
    assert digest_of_code(named) is not None
    assert digest_of_code({**named, name: "TextGen-v0" if name == "env_id" else "{}"}) is None


def test_what_was_run_here_goes_on_until_it_says_something_else(tmp_path: Path, code: Path) -> None:
    folder = folder_of(tmp_path, reward=f"{code}:reward")
    trust({"reward": f"{code}:reward"})
    assert read_config(folder).config.reward == f"{code}:reward"
    code.write_text(f"{code.read_text()}\n")
    with pytest.raises(ValueError, match="was not run from here before, or has changed since"):
        read_config(folder)


def test_other_arguments_are_other_code(tmp_path: Path) -> None:
    trust({"reward": json.dumps(SHELL)})
    other = json.dumps(SHELL).replace("TRACE", "OTHER")
    assert read_config(folder_of(tmp_path, reward=json.dumps(SHELL)))
    with pytest.raises(ValueError, match="--trust-code"):
        read_config(folder_of(tmp_path, reward=other))


def test_code_that_lies_elsewhere_is_the_same(tmp_path: Path, code: Path) -> None:
    moved = tmp_path / "moved.py"
    moved.write_bytes(code.read_bytes())
    assert digest_of_code({"reward": f"{code}:reward"}) == digest_of_code(
        {"reward": f"{moved}:reward"}
    )


def test_a_package_is_looked_at_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "theirs_package"
    package.mkdir()
    (package / "__init__.py").write_text(TRACE.format(path=str(tmp_path / "trace")))
    (package / "inner.py").write_text("one = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = digest_of_code({"reward": "theirs_package.inner:one"})
    (package / "inner.py").write_text("one = 2\n")
    assert digest_of_code({"reward": "theirs_package.inner:one"}) != before
    assert not (tmp_path / "trace").exists()
    assert "theirs_package" not in sys.modules
