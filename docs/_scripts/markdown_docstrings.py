"""Docstrings as Sphinx reads them: the Markdown of ours as reStructuredText.

Docstrings here have Google's sections, and between them the little Markdown that a terminal shows
as well: headings, tables, lists, `code`. Napoleon reads the sections afterwards.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from sphinx.pycode import ModuleAnalyzer

from docs._scripts import reference_pages

CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
INDENTED = 4


def process(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Rewrites the lines of a docstring in place."""
    if what == "data":
        lines[:] = _remark(name.rpartition(".")[2], value)
    lines[:] = list(converted(lines))


def _remark(name: str, value: Any) -> list[str]:
    """Returns what stands below a value in the module that defines it, not the text of its type."""
    for module, loaded in list(sys.modules.items()):
        if module.startswith(reference_pages.PACKAGES) and vars(loaded).get(name) is value:
            analyzer = ModuleAnalyzer.for_module(module)
            if found := analyzer.find_attr_docs().get(("", name)):
                return list(found)
    return []


def converted(lines: Iterable[str]) -> Iterator[str]:
    r"""Yields the lines of a docstring as reStructuredText.

    Example:
        >>> for line in converted(["## Rewards", "", "2 * 3, or `PPO` of `x`:", "", "    drawn"]):
        ...     print(line)
        .. rubric:: Rewards
        <BLANKLINE>
        <BLANKLINE>
        2 \* 3, or \ :py:obj:`PPO <agents.PPO>`\  of \ ``x``\ :
        <BLANKLINE>
        ::
        <BLANKLINE>
            drawn
        <BLANKLINE>
    """
    fence = False
    kinds = []
    for line in lines:
        fence ^= line.lstrip().startswith("```")
        kinds.append((_kind(line, fence, kinds[-1][0] if kinds else "blank"), line))
    for kind, group in groupby(kinds, key=lambda one: one[0]):
        yield from CONVERSIONS[kind]([line for _, line in group])


def _kind(line: str, fenced: bool, before: str) -> str:
    """Tells what a line is part of, given what the line before was part of."""
    text = line.lstrip()
    if fenced or text.startswith("```"):
        return "fence"
    if not text:
        return "blank" if before != "drawing" else "drawing"
    if text.startswith(">>>") or before == "example":
        return "example"
    if line.startswith("#"):
        return "heading"
    if line.startswith("|"):
        return "table"
    if len(line) - len(text) >= INDENTED and before in ("blank", "drawing"):
        return "drawing"
    return "item" if text.startswith("- ") else ("item" if before == "item" else "text")


def _texts(lines: list[str]) -> list[str]:
    return _inline("\n".join(lines)).splitlines()


def _items(lines: list[str]) -> list[str]:
    return ["", *_texts(lines), ""] if lines[0].startswith("-") else _texts(lines)


def _headings(lines: list[str]) -> list[str]:
    titles = (line.lstrip("# ") for line in lines)
    return [
        part for title in titles if title != "Arguments" for part in (f".. rubric:: {title}", "")
    ]


def _tables(lines: list[str]) -> list[str]:
    rows = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in lines]
    written = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows[:1] + rows[2:]:
        for place, cell in enumerate(row):
            written.append(f"   {'* -' if place == 0 else '  -'} {_inline(cell)}")
    return [*written, ""]


def _drawings(lines: list[str]) -> list[str]:
    return ["::", "", *lines, ""]


def _fences(lines: list[str]) -> list[str]:
    body = [f"    {line}" for line in lines if not line.lstrip().startswith("```")]
    return [".. code-block:: python", "", *body, ""]


def _unchanged(lines: list[str]) -> list[str]:
    return lines


CONVERSIONS = {
    "blank": _unchanged,
    "drawing": _drawings,
    "example": _unchanged,
    "fence": _fences,
    "heading": _headings,
    "item": _items,
    "table": _tables,
    "text": _texts,
}


def _inline(text: str) -> str:
    """Returns text with its `code` marked, and nothing else in it read as markup."""
    parts = CODE.split(text)
    for place, part in enumerate(parts):
        parts[place] = _code(part) if place % 2 else re.sub(r"([*|_])", r"\\\1", part)
    return "".join(parts)


def _code(code: str) -> str:
    """Returns code between backticks: a link if it is a public name of ours."""
    code = " ".join(code.split())
    target = reference_pages.target_of(code)
    marked = f":py:obj:`{code} <{target}>`" if target else f"``{code}``"
    return rf"\ {marked}\ "
