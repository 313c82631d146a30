"""The page for users of other libraries names what exists, and answers each of its rows."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import agents
from agents.algorithms.configs.names import ALGORITHMS, OFFLINE_ALGORITHMS
from text_gym import TextGenEnv, rewards, wrappers

PAGE = Path(__file__).parents[1] / "docs" / "coming_from.md"
ROW = re.compile(r"\| (\d+) \| (.+?) \| (.+) \|")
ROWS = [
    found.groups() for line in PAGE.read_text("utf-8").splitlines() if (found := ROW.match(line))
]
NAME = re.compile(r"[A-Za-z_]+")

NO_IMPORTS = {"check", "datasets", "evaluate_policy", "torchrun", "transformers"}
"""A command of ours, and names that other libraries have."""


def known() -> set[str]:
    """Returns the names that somebody who imports the packages can use, and those of options."""
    configs = [*ALGORITHMS.values(), *OFFLINE_ALGORITHMS.values(), agents.PolicyConfig]
    options = {field.name for config in configs for field in dataclasses.fields(config)}
    for made in (TextGenEnv, agents.PPO):
        options |= inspect.signature(made).parameters.keys()
    return options | {*agents.__all__, *rewards.__all__, *wrappers.__all__, *dir(agents.PPO)}


def names_in(answer: str) -> set[str]:
    """Returns the names in an answer: a word of code, what is called, and what it is given."""
    spans = [span for span in re.findall(r"`([^`]+)`", answer) if not re.search("[ /]", span)]
    called = {name for span in spans for name in re.findall(r"(\w+)(?=[(=])", span)}
    return called | {span for span in spans if NAME.fullmatch(span)}


def test_there_are_twenty_five_rows() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 26))


@pytest.mark.parametrize(("number", "there", "here"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row_names_what_exists_and_leads_to_a_page(number: str, there: str, here: str) -> None:
    assert re.search(r"\]\([\w/-]+\.md[)#]", here)
    assert sorted(names_in(here) - known() - NO_IMPORTS) == []
    modules = re.findall(r"\b(agents\.[a-z_]+)", here)
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []
