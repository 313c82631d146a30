"""Reports: what the page shows is in the JSON, and whatever a text says, it stays text."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from agents.reports import (
    Code,
    Curves,
    Facts,
    Figure,
    Intervals,
    Paragraph,
    Section,
    Series,
    SideBySide,
    Table,
    Written,
    write_report,
)
from agents.reports.curves import HUES
from agents.reports.report import report_html
from tests.report_figures import missing_figures

EVIL = "</style><img src=x onerror=alert(1)><script>alert(2)</script>\x1b[31m\u202e\"'{}"


def everything(text: str) -> list[Section]:
    """Returns a section of every block, with the text wherever there is one."""
    known, curve = Figure(0.25, 3, 0.125), Series(text, [0, 1, 2], [3, math.nan, 5.25])
    band = Series(f"{text}2", [0, 2], [1, 2], [0.5, 1.5], [1.5, 2.5], "dotted line")
    guide = Series("equal", [0, 2], [0, 2], style="guide")
    dots = Series("dots", [1], [4.5], [4.25], [4.75], "dots")
    return [
        Section(
            f"One {text}",
            [Paragraph(text), Code(text), Facts([(text, text), ("KL", Figure(1.5, 1))])],
        ),
        Section(
            f"Two {text}",
            [
                Table([text, "reward", "note"], [[text, known, text], ["b", None, None]], text),
                Curves(text, f"√{text}", text, [curve, band, guide, dots], f"{text}: 7 points."),
                Intervals(text, text, [(text, known), ("none", Figure(math.nan))], text, mark=0),
                SideBySide([text], [[Written(text, text, known), Written("b", "")]]),
            ],
        ),
    ]


def test_every_figure_of_the_page_is_in_the_json(tmp_path: Path) -> None:
    assert write_report(tmp_path / "r", "Report", everything("t"), {}) == tmp_path / "r/report.html"
    assert missing_figures(tmp_path / "r") == []


def test_a_figure_that_only_the_page_has_is_found(tmp_path: Path) -> None:
    write_report(tmp_path, "Report", everything("t"), {})
    page = tmp_path / "report.html"
    page.write_text(page.read_text("utf-8").replace("0.250", "0.251"), "utf-8")
    assert "0.251" in missing_figures(tmp_path)


def test_the_json_has_the_figures_and_every_block_by_its_fields(tmp_path: Path) -> None:
    write_report(tmp_path, "Report", everything("t"), {"reward": 0.25, "kl": math.inf})
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert list(report) == ["title", "figures", "sections"]
    assert report["figures"] == {"reward": 0.25, "kl": None}
    one, two = report["sections"]
    assert one["blocks"][0] == {"kind": "Paragraph", "text": "t"}
    kinds = [block["kind"] for block in two["blocks"]]
    assert kinds == ["Table", "Curves", "Intervals", "SideBySide"]
    assert two["blocks"][1]["series"][0]["y"] == [3, None, 5.25]
    assert two["blocks"][0]["rows"][0][1]["half_width"] == 0.125


def test_no_text_becomes_markup() -> None:
    harmless, page = (report_html(text, everything(text)) for text in ("t", EVIL))
    assert "onerror=alert(1)" in page
    assert tags(page) == {*tags(harmless), "<span>"}, "the span names a control character"
    assert "\x1b" not in page
    assert "\u202e" not in page


def tags(page: str) -> set[str]:
    """Returns the tags that open, without what is in them."""
    body = page.partition("<body>")[2]
    return {f"<{name}>" for name in re.findall(r"<(\w+)", body)}


def test_the_page_names_no_address() -> None:
    page = report_html("Report", everything("t"))
    assert not re.search(r"https?:|//|url\(|@import|<script|<link|src=", page)
    assert "default-src 'none'" in page


def test_sections_have_different_titles() -> None:
    with pytest.raises(ValueError, match=r"sections must have different titles, got \['a', 'a'\]"):
        report_html("Report", [Section("a", []), Section("a", [])])


@pytest.mark.parametrize(
    ("figure", "shown"),
    [
        (Figure(-0.04, 1), "−0.0"),
        (Figure(1234.5, 1), "1,234.5"),
        (Figure(math.nan), "–"),
        (Figure(0.5, 2, math.nan), "0.50"),
        (Figure(0.5, 2, 0.25, unit=" s"), "0.50 ± 0.25 s"),
        (Figure(0.5, 2, low=0.25, high=1), "0.50 (0.25 to 1.00)"),
    ],
)
def test_figures_as_they_are_shown(figure: Figure, shown: str) -> None:
    assert str(figure) == shown


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Table(["a", "b"], [["c"]]), "rows must have 2 cells"),
        (lambda: Series("s", [1, 2], [1]), r"of s must be of the same points, got \[2, 1, 0, 0\]"),
        (lambda: Series("s", [1], [1], [1]), "same points"),
        (lambda: SideBySide(["a"], []), "texts of 1 prompts, got those of 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_points_lie_where_they_belong() -> None:
    """The lowest left and the highest right point are 4 % within the axes' ends."""
    page = report_html("R", [Section("s", [Curves("c", "x", "y", [SLOPE], "")])])
    points = re.findall(r'class="line" points="([^"]+)"', page)[0]
    left, middle, right = (tuple(map(float, one.split(","))) for one in points.split())
    assert left[0] == 52, "an axis that begins at 0 begins there"
    assert left[0] < middle[0] < right[0] < 406
    assert left[1] > middle[1] > right[1] > 26
    assert middle[0] - left[0] == pytest.approx(right[0] - middle[0], abs=0.11)


SLOPE = Series("slope", [0, 1, 2], [10, 20, 30])


def test_lines_differ_by_class_and_guides_take_none() -> None:
    guide = Series("guide", [0, 1], [0, 1], style="guide")
    lines = [guide, *[Series(f"{n}", [0, 1], [0, n]) for n in range(HUES + 1)]]
    page = report_html("R", [Section("s", [Curves("c", "x", "y", lines, "")])])
    hues = re.findall(r'<g class="(guide|hue-\d)">', page)[: len(lines)]
    assert hues == ["guide", *[f"hue-{n}" for n in range(HUES)], "hue-0"]


def test_a_plot_without_points_is_drawn() -> None:
    empty = [Curves("c", "x", "y", [Series("s", [], [])], ""), Intervals("i", "x", [], "")]
    assert report_html("R", [Section("s", empty)]).count("<svg") == 3
