"""A report to send to a colleague: one HTML file, and its figures as JSON beside it.

    report      the page, the JSON, and both written: `write_report`
    tables      tables and lists of figures with their intervals
    curves      lines and points over one axis, as SVG
    intervals   figures with their intervals, one below the other, as SVG
    texts       paragraphs, code, and what several policies wrote side by side
    model_card  the same blocks as Markdown, in the form that model hubs read

A section is a title and blocks. A block is a frozen dataclass of plain values that can show itself;
what it shows is what it holds, and what it holds is in the JSON. Knows nothing of what was
measured.
"""

from __future__ import annotations

from agents.reports.curves import Curves, Series
from agents.reports.intervals import Intervals
from agents.reports.report import Block, Section, write_report
from agents.reports.tables import Facts, Figure, Table
from agents.reports.texts import Code, Paragraph, SideBySide, Written

__all__ = [
    "Block",
    "Code",
    "Curves",
    "Facts",
    "Figure",
    "Intervals",
    "Paragraph",
    "Section",
    "Series",
    "SideBySide",
    "Table",
    "Written",
    "write_report",
]
