"""Code that the folder of a run names is run only where this user has had it run before."""

from __future__ import annotations

import dataclasses
import json
import py_compile
import sys
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import pytest

from agents import resume
from agents.applications.fine_tuning import in_environment
from agents.applications.registry import APPLICATIONS
from agents.runs import chatting, evaluating, inspecting, pipeline, sampling
from agents.runs.chatting_options import Chatting
from agents.runs.evaluating_options import Evaluating
from agents.runs.exporting import export
from agents.runs.inspecting_options import Inspecting
from agents.runs.own_code import load_object
from agents.runs.sampling_options import Sampling
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
    config = in_environment(TOY, "TextGen-v0") if {"env_id", "env_args"} & options.keys() else TOY
    said = described("toy", dataclasses.replace(config, **options))
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
        {"env_id": "FILE:Theirs-v0"},
        {"env_id": "subprocess:Theirs-v0"},
        {"env_args": '{"reward_function": ["PLACE"]}'},
    ],
)
def test_code_is_refused_before_any_of_it_runs(
    tmp_path: Path, code: Path, options: dict[str, str]
) -> None:
    named = {name: text.replace("PLACE", "FILE:reward") for name, text in options.items()}
    named = {name: text.replace("FILE", str(code)) for name, text in named.items()}
    folder = folder_of(tmp_path, **named)
    with pytest.raises(ValueError, match=r"config.json names code .* give --trust-code too"):
        read_config(folder)
    assert not (tmp_path / "trace").exists()
    trust_runs([str(folder), "small-talk"])
    assert read_config(folder)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "command",
    [
        pipeline.resume,
        lambda run: chatting.run(Chatting(models=(str(run),)), ["Hi", ""]),
        lambda run: evaluating.run(Evaluating(models=(str(run),), output=run / "evaluation")),
        lambda run: inspecting.run(Inspecting(run=run)),
        lambda run: sampling.run(Sampling(model=str(run), prompts="Hi", output=run / "items")),
        lambda run: export(run, run / "exported"),
    ],
    ids=["resume", "chat", "evaluate", "inspect", "sample", "export"],
)
def test_every_command_that_reads_a_run_refuses(
    tmp_path: Path, code: Path, command: Callable[[Path], Any]
) -> None:
    folder = folder_of(tmp_path, reward=f"{code}:reward", env_id=f"{code}:Theirs-v0")
    (folder / "policy").mkdir()
    with pytest.raises(ValueError, match=r"config.json names code .* give --trust-code too"):
        command(folder)
    assert not (tmp_path / "trace").exists()


def test_an_untrained_policy_is_exported_if_its_environment_is_trusted(
    tmp_path: Path, code: Path
) -> None:
    folder = folder_of(tmp_path, env_id=f"{code}:Theirs-v0")
    with pytest.raises(FileNotFoundError, match="run must be a folder with a checkpoint"):
        export(folder, tmp_path / "exported", trust_code=True)
    assert read_config(folder)


@pytest.mark.parametrize("env_id", ["text_gym:TextGen-v0", "agents.applications:TextGen-v0"])
def test_modules_of_this_package_are_not_somebodys_code(env_id: str) -> None:
    assert digest_of_code({"env_id": env_id}) is None


def test_a_file_that_is_called_as_this_package_is_somebodys_code(
    tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code.rename(tmp_path / "text_gym.py")
    monkeypatch.chdir(tmp_path)
    assert digest_of_code({"env_id": "text_gym.py:TextGen-v0"}) is not None


@pytest.mark.parametrize("place", ["posix:system", "os:system", "nowhere:system", "nowhere.py:f"])
def test_code_without_a_file_is_not_vouched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("frozen", "built-in"):
        Path(name).touch()  # what Python says of modules that have no file
    with pytest.raises(ValueError, match=f"must stand in a file that exists, got '{place}'"):
        trust({"reward": place})


def test_what_the_file_says_is_run_whatever_was_compiled(tmp_path: Path) -> None:
    path = tmp_path / "cached.py"
    path.write_text("WORD = 'said'\n")
    other = tmp_path / "other.py"
    other.write_text("WORD = 'other'\n")
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(other), cache_from_source(path), invalidation_mode=unchecked)
    assert load_object(f"{path}:WORD", "reward") == "said"


def test_a_run_that_learns_from_a_file_has_no_code_to_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"preset": "sft", "learner": "sft"}')
    monkeypatch.setattr(sys, "argv", ["resume", str(tmp_path), "--trust-code"])
    with pytest.raises(SystemExit, match="1"):
        resume.main()
    rule = f"--trust-code must be left out, as {tmp_path} learns from a file and names no code\n"
    assert capsys.readouterr().err == rule


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


@pytest.mark.parametrize("reward", ["{}:reward", '{{"Feedback": {{"reward_function": "{}:f"}}}}'])
def test_a_copy_beside_other_files_is_other_code(
    tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch, reward: str
) -> None:
    (tmp_path / "folder").mkdir()
    copy = tmp_path / "folder" / code.name
    copy.write_bytes(code.read_bytes())
    digests = {digest_of_code({"wrappers": reward.format(one)}) for one in (code, copy)}
    assert len(digests) == 2
    monkeypatch.chdir(tmp_path)
    assert digest_of_code({"wrappers": reward.format(code.name)}) in digests
    monkeypatch.chdir("folder")
    assert digest_of_code({"wrappers": reward.format(code.name)}) in digests


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
