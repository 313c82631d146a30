"""`docs/ppo_in_reading_order.md` lists what an update passes through, and that is not too much."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.members import MEMBERS, Member

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ppo_in_reading_order.md").read_text(encoding="utf-8")
PPO_PART, REST = PAGE.split("## What is not on the list")
ASIDE, OTHERS = REST.split("## The others")
OWN_STEPS = ("6", "7", "8", "10")
"""Of PPO's list: where other algorithms have files of their own."""

Files = Mapping[str, tuple[str, ...]]
"""What to read of each file; no names: all of it."""


def ppo_rows() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for number, file, names in re.findall(r"^\| (\d+) \| (\S+) \|(.*?)\|", PPO_PART, re.M):
        yield number, file, tuple(re.findall(r"`([\w.]+)`", names))


def reading_list(algorithm: str) -> Files:
    """Return what one update of an algorithm passes through, by the page."""
    if algorithm == "PPO":
        return {file: names for _, file, names in ppo_rows()}
    (row,) = re.findall(rf"^\| {algorithm} \| (.*) \| .* \|$", OTHERS, re.M)
    files = {file: names for n, file, names in ppo_rows() if n not in OWN_STEPS}
    for part in row.split(", "):
        file, _, names = part.partition(" ")
        files[file] = files.get(file, ()) + tuple(re.findall(r"`([\w.]+)`", names))
    return files


def definitions(file: str) -> dict[str, int]:
    """Return the lines of each class, function and method of a file, by qualified name."""
    found: dict[str, int] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                assert child.end_lineno is not None
                start = min([child.lineno, *(one.lineno for one in child.decorator_list)])
                found[prefix + child.name] = child.end_lineno - start + 1
                if isinstance(child, ast.ClassDef):
                    visit(child, f"{prefix}{child.name}.")

    visit(ast.parse((ROOT / file).read_text(encoding="utf-8")), "")
    return found


def n_lines(files: Files) -> int:
    """Count the lines to be read."""
    total = 0
    for file, names in files.items():
        lines = definitions(file)
        whole = len((ROOT / file).read_text(encoding="utf-8").splitlines())
        total += sum(lines[name] for name in names) if names else whole
    return total


def calls_of_an_update(agent: Any, aside: tuple[str, ...]) -> set[tuple[str, str]]:
    """Return file and name of what is called in an update, but for what is called from aside."""
    calls: set[tuple[str, str]] = set()

    def file_of(frame: FrameType) -> str:
        return frame.f_code.co_filename.removeprefix(f"{ROOT}/")

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or not file_of(frame).startswith("agents/"):
            return
        caller: FrameType | None = frame
        while caller is not None:
            if file_of(caller).startswith(aside):
                return
            caller = caller.f_back
        calls.add((file_of(frame), frame.f_code.co_qualname.partition(".<locals>")[0]))

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        agent.learn(agent.config.n_episodes)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("algorithm", sorted({member.algorithm for member in MEMBERS}))
def test_an_update_is_read_in_12_files_and_1500_lines(algorithm: str) -> None:
    files = reading_list(algorithm)
    assert len(files) <= 12
    assert n_lines(files) <= 1500
    line = (
        PPO_PART if algorithm == "PPO" else re.findall(rf"^\| {algorithm} \|.*$", OTHERS, re.M)[0]
    )
    said = re.search(r"(\d+) files, (?:and in them )?([\d,]+) lines", line)
    assert said is not None
    assert int(said[1]) == len(files)
    assert int(said[2].replace(",", "")) == pytest.approx(n_lines(files), rel=0.1)


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_the_page_leaves_nothing_out_that_an_update_calls(member: Member) -> None:
    aside = tuple(re.findall(r"\bagents/[\w./]+", ASIDE))
    files = reading_list(member.algorithm)
    missing = []
    for file, name in sorted(calls_of_an_update(member.agent(), aside)):
        parts = files.get(file)
        listed = parts is not None and (
            not parts or any(name == part or name.startswith(f"{part}.") for part in parts)
        )
        if not listed:
            missing.append(f"{file}: {name}")
    assert missing == []
