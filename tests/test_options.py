"""What commands say of their options, and to a command line that they cannot read."""

from __future__ import annotations

import runpy
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agents.command_line.options import read_options


@dataclass(frozen=True)
class Inner:
    """Part of the options."""

    rate: float = 0.5
    """How fast it is learnt, of which there is so much to say that the line of the source
    ends, and the next one is indented."""


@dataclass(frozen=True)
class Options:
    """What can be said."""

    model: str
    """The first words of this help fill one line of the source, but not those of the
    terminal, in which they flow on.

    This is a paragraph of its own."""
    template: str = "{prompt}\\\n"
    """What is seen."""
    inner: Inner = field(default_factory=Inner)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Returns what is printed of `Options`, without its boxes and colours."""
    with pytest.raises(SystemExit):
        read_options(Options, prog="python -m options", args=arguments)
    lines = "".join(capsys.readouterr()).splitlines()
    return "\n".join(line.strip("│ ") for line in lines)


def said(monkeypatch: pytest.MonkeyPatch, module: str, *arguments: str) -> int:
    """Returns the status with which a command ends."""
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.delitem(sys.modules, f"agents.{module}", raising=False)
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"agents.{module}", run_name="__main__")
    return end.value.code  # type: ignore[return-value]


def test_help_is_wrapped_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    help_text = shown(capsys, "--help")
    assert "but not those of the terminal, in which they flow on.\n\nThis is" in help_text
    assert "the line of the source ends, and the next one is indented." in help_text


def test_a_default_with_line_breaks_is_shown_as_a_shell_takes_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "What is seen. (default: $'{prompt}\\\\\\n')" in shown(capsys, "--help")


def test_options_are_read_into_the_dataclass_and_its_parts() -> None:
    arguments = ["--model", "a", "--inner.rate", "0.25"]
    options = read_options(Options, prog="python -m options", args=arguments)
    assert options == Options("a", inner=Inner(0.25))


def test_a_file_without_a_preset_is_told_where_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("total_episodes: 64\n")
    assert said(monkeypatch, "train", "--config", str(path), "--name", "mine") == 2
    rule = f"or {path} must name it (preset: dialogue), got '--name'"
    assert rule in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "got"), [([], "nothing"), (["dialog"], "'dialog'"), (["--name", "x"], "'--name'")]
)
def test_a_preset_comes_first(
    arguments: list[str],
    got: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said(monkeypatch, "train", *arguments) == 2
    error = capsys.readouterr().err
    assert "the first argument must be a preset (dialogue, conversation, tutorial, " in error
    assert f"calculator), got {got}\nWhat each is: python -m agents.train --help\n" in error


def test_a_misspelt_option_is_answered_by_those_of_its_preset(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(monkeypatch, "train", "dialogue", "--totl-episodes", "3") == 2
    error = capsys.readouterr().err
    assert "Unrecognized options: --totl-episodes" in error
    assert error.count("--total-episodes INT") == 1
    assert "run python -m agents.train dialogue --help" in error
    assert "python calculator" not in error
    assert len(error.splitlines()) < 15


@pytest.mark.parametrize(("module", "option"), [("train", "--algorithm"), ("pretrain", "--corpus")])
def test_a_wrong_choice_is_answered_by_the_command_as_it_is_typed(
    module: str, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(monkeypatch, module, option, "foo") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"usage: python -m agents.{module} ")
    assert f"python -m agents.{module}: error: argument {option}: invalid choice: 'foo'" in error
