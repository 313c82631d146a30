"""Whether every figure of a report's page is in its JSON.

Knows a report by its two files only. Numbers at the axes of plots are not
figures, nor are the names of control characters in texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

NUMBER = re.compile(r"−?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def missing_figures(folder: Path) -> list[str]:
    """Returns the numbers on the page of a report that are not in its JSON, in any rounding."""
    page = Visible()
    page.feed((folder / "report.html").read_text(encoding="utf-8"))
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    values = list(leaves(report))
    numbers = [one for one in values if isinstance(one, int | float)]
    strings = "\n".join(one for one in values if isinstance(one, str))
    written = {number for text in [strings] for number in NUMBER.findall(text)}
    shown = [number for text in page.texts for number in NUMBER.findall(text)]
    assert shown, "the page shows no figures"
    return [one for one in shown if one not in written and not is_rounding(one, numbers)]


class Visible(HTMLParser):
    """Collects what a page shows, but for the axes of its plots."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kind = dict(attrs).get("class")
        ticks = tag == "text" and kind in ("start", "middle", "end")
        self.hidden = tag == "style" or kind == "sign" or ticks

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.texts.append(data)


def leaves(value: Any) -> Iterator[Any]:
    """Yields the numbers and strings of what JSON gave, keys included."""
    if isinstance(value, dict):
        yield from value
    parts = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for part in parts:
            yield from leaves(part)
    elif value is not None:
        yield value


def is_rounding(shown: str, numbers: list[float]) -> bool:
    plain = shown.replace("−", "-").replace(",", "")
    digits = len(plain.partition(".")[2].partition("e")[0])
    return any(plain in (f"{one:.{digits}f}", f"{one:.4g}") for one in numbers)
