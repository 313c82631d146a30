"""One figure with its interval for each of several things, one below the other.

Knows numbers, and nothing of policies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from agents.reports.picture import WIDTH, axis_over, framed, label, picture, tick
from agents.reports.tables import Figure
from text_gym.rendering.axes import Axis
from text_gym.rendering.pieces import printable

_ROW, _NAMES, _RIGHT, _BOTTOM = 26, 140, 14, 40
"""Height of a line, width of the names, and what is left free at the right and below."""
_NAME = 22
"""Characters of a name beside an interval."""


@dataclass(frozen=True)
class Intervals:
    """Holds one figure with its interval for each of several things.

    Attributes:
        title: Of the plot.
        label: What is measured.
        rows: The names, from top to bottom, and the figures.
        told: What the plot shows, in a sentence.
        mark: Where a line is drawn across, such as at no difference; None: nowhere.
    """

    title: str
    label: str
    rows: Sequence[tuple[str, Figure]]
    told: str
    mark: float | None = None

    def html(self) -> Markup:
        """Returns the figure."""
        marks = [] if self.mark is None else [self.mark]
        ends = ([one.value, *(one.ends or ())] for _, one in self.rows)
        x = axis_over(self.label, [marks, *ends])
        height = _ROW * len(self.rows) + _BOTTOM + 8
        rows = Markup("").join(_row(at, *row, x) for at, row in enumerate(self.rows))
        mark = Markup("") if self.mark is None else _across_rows(x, self.mark, height, "goal")
        ticks = Markup("").join(
            _across_rows(x, value, height, "grid")
            + label("middle", _beside(x, value), height - _BOTTOM + 18, tick(value))
            for value in x.ticks()
        )
        middle = _NAMES + (WIDTH - _NAMES - _RIGHT) / 2
        name = label("middle name", middle, height - 6, self.label)
        drawn = picture(self.title, self.told, height, ticks + mark + rows + name)
        return framed(self.title, self.told, drawn)


def _row(at: int, name: str, figure: Figure, x: Axis) -> Markup:
    height = at * _ROW + _ROW / 2 + 4
    short = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
    marks = [label("end name", _NAMES - 10, height + 4, short)]
    if figure.ends is not None:
        low, high = (_beside(x, end) for end in figure.ends)
        whisker = Markup('<path class="whisker" d="M{:.1f} {:.1f}H{:.1f}"/>')
        marks.append(whisker.format(low, height, high))
    if math.isfinite(figure.value):
        marks.append(
            Markup(
                '<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="4.5"><title>{}: {}</title></circle>'
            ).format(_beside(x, figure.value), height, printable(name), str(figure))
        )
    return Markup('<g class="hue-0">{}</g>').format(Markup("").join(marks))


def _across_rows(x: Axis, value: float, height: float, kind: str) -> Markup:
    return Markup('<path class="{}" d="M{:.1f} 4V{}"/>').format(
        kind, _beside(x, value), height - _BOTTOM
    )


def _beside(x: Axis, value: float) -> float:
    return _NAMES + x.at(value) * (WIDTH - _NAMES - _RIGHT)
