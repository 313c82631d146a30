"""Each tutorial runs as it stands, and prints what stands below its blocks."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TUTORIALS = sorted(path.name for path in DOCS.glob("tutorials/*.md") if path.stem != "README")
PAGES = ["getting_started.md", *(f"tutorials/{name}" for name in TUTORIALS)]
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_runs_and_prints_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    module = types.ModuleType("tutorial")  # where pickle finds what a page defines
    monkeypatch.setitem(sys.modules, module.__name__, module)
    printed = ""
    for kind, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(text, page, "exec"), vars(module))
            printed = output.getvalue()
        else:
            assert text == printed


def test_the_first_page_lists_every_tutorial() -> None:
    page = (DOCS / "tutorials" / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\d+\. \[[^\]]+\]\((\S+)\)", page, re.MULTILINE)) == TUTORIALS
