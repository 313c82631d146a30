"""Tables and lists of figures, each with the interval in which it is known.

Knows numbers and their names, and nothing of how they came about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from text_gym.feedback.server.shown import shown


@dataclass(frozen=True)
class Figure:
    """Holds a number and how well it is known.

    Attributes:
        value: The number; NaN is shown as a dash.
        digits: To show, after the point.
        half_width: Half of its interval, where it stands in the middle; None or NaN: it has none.
        low: Lower end of its interval, where it does not.
        high: Upper end.
        unit: What follows the number.

    Example:
        >>> str(Figure(0.5, 2)), str(Figure(0.5, 2, 0.12)), str(Figure(0.9, 2, low=0.6, high=0.95))
        ('0.50', '0.50 ± 0.12', '0.90 (0.60 to 0.95)')
    """

    value: float
    digits: int = 3
    half_width: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""

    def __str__(self) -> str:
        """Returns the number and its interval."""
        return _number(self.value, self.digits) + self.interval + self.unit

    @property
    def ends(self) -> tuple[float, float] | None:
        """The ends of the interval, if it has one."""
        if self.half_width is not None and not math.isnan(self.half_width):
            return self.value - self.half_width, self.value + self.half_width
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def interval(self) -> str:
        """The interval as it is shown."""
        if self.ends is None:
            return ""
        if self.half_width is not None:
            return f" ± {_number(self.half_width, self.digits)}"
        low, high = (_number(end, self.digits) for end in self.ends)
        return f" ({low} to {high})"


Cell = Figure | str | None
"""What a table may hold; None: nothing."""


@dataclass(frozen=True)
class Table:
    """Holds rows of figures and texts.

    Attributes:
        headings: Of the columns, the first being that of the rows' names.
        rows: Each as long as `headings`, its name first.
        caption: Says how to read it.

    Raises:
        ValueError: If a row has another length than the headings.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    def __post_init__(self) -> None:
        """Checks that every row has a cell for each heading."""
        for row in self.rows:
            if len(row) != len(self.headings):
                raise ValueError(
                    f"rows must have {len(self.headings)} cells, as the headings, got {row}"
                )

    def html(self) -> Markup:
        """Returns the table, in a frame that scrolls where it is wider than the page."""
        numeric = [self._is_numeric(column) for column in range(len(self.headings))]
        head = Markup("").join(
            _heading(heading, is_number)
            for heading, is_number in zip(self.headings, numeric, strict=True)
        )
        caption = Markup("<caption>{}</caption>").format(shown(self.caption))
        body = Markup("\n").join(map(_row, self.rows))
        return Markup(
            '<div class="scrolls" tabindex="0" role="group" aria-label="Table"><table>{}'
            "<thead><tr>{}</tr></thead>\n<tbody>\n{}\n</tbody></table></div>"
        ).format(caption if self.caption else Markup(""), head, body)

    def _is_numeric(self, column: int) -> bool:
        return any(isinstance(row[column], Figure) for row in self.rows)


@dataclass(frozen=True)
class Facts:
    """Holds names and values: what was done, and on what."""

    facts: Sequence[tuple[str, Cell]]

    def html(self) -> Markup:
        """Returns the list."""
        items = Markup("\n").join(
            Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(shown(name), _shown(value))
            for name, value in self.facts
        )
        return Markup('<dl class="facts">\n{}\n</dl>').format(items)


def _heading(heading: str, is_number: bool) -> Markup:
    if not heading:
        return Markup("<td></td>")
    return Markup('<th scope="col"{}>{}</th>').format(_aligned(is_number), shown(heading))


def _row(row: Sequence[Cell]) -> Markup:
    name, *others = row
    head = Markup('<th scope="row">{}</th>').format(_shown(name))
    cells = (
        Markup("<td{}>{}</td>").format(_aligned(isinstance(cell, Figure)), _shown(cell))
        for cell in others
    )
    return Markup("<tr>{}{}</tr>").format(head, Markup("").join(cells))


def _shown(cell: Cell) -> Markup:
    if isinstance(cell, Figure):
        number = _number(cell.value, cell.digits)
        interval = Markup('<span class="interval">{}</span>').format(cell.interval)
        return Markup("{}{}{}").format(number, interval if cell.interval else "", cell.unit)
    return shown(cell or "")


def _aligned(is_number: bool) -> Markup:
    return Markup(' class="number"' if is_number else "")


def _number(value: float, digits: int) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", "−")
