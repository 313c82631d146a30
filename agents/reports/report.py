"""A report: sections of blocks as a page that needs nothing else, and as JSON.

The page has no script, asks no network for anything, and its content policy forbids both; a page
that will be written again has one script, which loads it anew until its reader says no. Every text
on it is escaped. Knows nothing of what was measured.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from markupsafe import Markup

from agents.reports.json_file import write_json, write_whole
from text_gym.feedback.server.shown import shown

PAGE, FIGURES = "report.html", "report.json"


class Block(Protocol):
    """Shows itself, being a frozen dataclass of plain values, lists, mappings and such classes."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def html(self) -> Markup:
        """Returns what it holds, and nothing else, as HTML."""


class Section(NamedTuple):
    """Holds one part of a report.

    Attributes:
        title: Its heading, which no other section of the report has.
        blocks: What it says, from top to bottom.
    """

    title: str
    blocks: Sequence[Block]


def write_report(
    folder: Path, title: str, sections: Sequence[Section], figures: Mapping[str, Any]
) -> Path:
    """Writes `report.html` and, with every figure that it shows, `report.json`.

    Args:
        folder: Of both; it is made where it is missing.
        title: Of the page.
        sections: What it says.
        figures: What programs read, by name; they stand in the JSON before the sections.

    Returns:
        The path of the page.

    Raises:
        ValueError: If two sections have the same title.
    """
    page = report_html(title, sections)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FIGURES, report_data(title, sections, figures))
    write_whole(folder / PAGE, page)
    return folder / PAGE


def report_data(
    title: str, sections: Sequence[Section], figures: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns what the JSON of a report holds: each block by its kind and its fields."""
    return {
        "title": title,
        "figures": figures,
        "sections": [
            {"title": section.title, "blocks": [_data(block) for block in section.blocks]}
            for section in sections
        ],
    }


def report_html(title: str, sections: Sequence[Section], *, refresh: int | None = None) -> str:
    """Returns the page of a report.

    Args:
        title: Of the page.
        sections: What it says.
        refresh: Seconds after which a browser loads it anew; None: it does not.

    Raises:
        ValueError: If two sections have the same title.
    """
    titles = [section.title for section in sections]
    if len(set(titles)) != len(titles):
        raise ValueError(f"sections must have different titles, got {titles}")
    reload = "" if refresh is None else _RELOAD % (1000 * refresh)
    return _PAGE.format(
        title=shown(title),
        policy=_POLICY + _only(reload),
        current=_CURRENT.format(refresh, Markup(reload)) if reload else "",
        style=Markup(_stylesheet()),
        contents=Markup("").join(map(_link, range(len(titles)), titles)),
        sections=Markup("\n").join(map(_section, range(len(titles)), sections)),
    )


_PAGE = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{current}<nav aria-label="Contents">{contents}</nav>
{sections}
</main>
</body>
</html>
""")

_POLICY = Markup("default-src 'none'; style-src 'unsafe-inline'")
_CURRENT = Markup("""\
<p><label><input type="checkbox" id="current" checked> Load anew every {} seconds</label></p>
<script>{}</script>
""")
_RELOAD = 'setInterval(() => document.getElementById("current").checked && location.reload(), %d)'


def _only(script: str) -> Markup:
    """Returns the part of a content policy that allows this script and no other; "" allows none."""
    if not script:
        return Markup("")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Markup("; script-src 'sha256-{}'").format(digest)


def _link(number: int, title: str) -> Markup:
    return Markup('<a href="#section-{}">{}</a>\n').format(number, shown(title))


def _section(number: int, section: Section) -> Markup:
    blocks = Markup("\n").join(block.html() for block in section.blocks)
    return Markup('<section id="section-{}">\n<h2>{}</h2>\n{}\n</section>').format(
        number, shown(section.title), blocks
    )


def _data(block: Block) -> dict[str, Any]:
    return {"kind": type(block).__name__, **dataclasses.asdict(block)}


@functools.cache
def _stylesheet() -> str:
    return files("agents.reports").joinpath("report.css").read_text(encoding="utf-8")
