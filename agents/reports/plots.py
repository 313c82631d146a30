"""Plots as SVG within the page: no script, no library; colours are those of the style sheet.

Every plot has a title, a sentence that says in words what it shows, and names of its lines below;
lines differ by dashes too, for who prints in grey. Knows numbers, and nothing of policies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from agents.reports.tables import Figure
from text_gym.feedback.server.shown import shown
from text_gym.rendering.axes import Axis
from text_gym.rendering.pieces import printable

_WIDTH, _HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 26, 40
_ROW, _NAMES = 26, 140
"""Of a plot of intervals: height of a line, width of the names."""
_NAME = 22
"""Characters of a name beside an interval."""
HUES = 8
"""Lines that have a colour of their own; from the ninth on they begin again."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Holds one line of a plot.

    Attributes:
        name: What it is called.
        x: Where its points are.
        y: How high they are.
        low: Lower ends of their intervals; empty: there are none.
        high: Upper ends.
        style: Joined by a line, with or without dots; dots alone; or a thin guide in grey.

    Raises:
        ValueError: If there are not equally many of each.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    style: Literal["line", "dotted line", "dots", "guide"] = "line"

    def __post_init__(self) -> None:
        """Checks that everything is there of every point."""
        sizes = [len(part) for part in (self.x, self.y, self.low, self.high)]
        if sizes[0] != sizes[1] or sizes[2:] not in ([0, 0], [sizes[0]] * 2):
            raise ValueError(
                f"x, y, low and high of {self.name} must be of the same points, got {sizes}"
            )


@dataclass(frozen=True)
class Curves:
    """Holds lines and points over one axis.

    Attributes:
        title: Of the plot.
        x_label: What lies along the page.
        y_label: What goes up.
        series: What is drawn; points that are not finite are left out.
        told: What the plot shows, in a sentence.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    told: str

    def html(self) -> Markup:
        """Returns the figure."""
        x = _axis(self.x_label, [one.x for one in self.series])
        heights = (part for one in self.series for part in (one.y, one.low, one.high))
        y = _axis(self.y_label, heights)
        hues = list(_hues(self.series))
        drawn = Markup("").join(
            _series(one, hue, x, y) for one, hue in zip(self.series, hues, strict=True)
        )
        legend = Markup("").join(_key(one, hue) for one, hue in zip(self.series, hues, strict=True))
        picture = _picture(self.title, self.told, _HEIGHT, _axes(x, y) + drawn)
        key = Markup('<ul class="key">{}</ul>').format(legend)
        return _figure(self.title, self.told, picture + key)


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
        x = _axis(self.label, [marks, *([one.value, *(one.ends or ())] for _, one in self.rows)])
        height = _ROW * len(self.rows) + _BOTTOM + 8
        rows = Markup("").join(_row(at, *row, x) for at, row in enumerate(self.rows))
        mark = Markup("") if self.mark is None else _across_rows(x, self.mark, height, "goal")
        ticks = Markup("").join(
            _across_rows(x, tick, height, "grid")
            + _label("middle", _beside(x, tick), height - _BOTTOM + 18, _tick(tick))
            for tick in x.ticks()
        )
        middle = _NAMES + (_WIDTH - _NAMES - _RIGHT) / 2
        name = _label("middle name", middle, height - 6, self.label)
        picture = _picture(self.title, self.told, height, ticks + mark + rows + name)
        return _figure(self.title, self.told, picture)


def _figure(title: str, told: str, picture: Markup) -> Markup:
    return Markup(
        '<figure class="plot"><figcaption>{}</figcaption>\n{}<p class="told">{}</p></figure>'
    ).format(shown(title), picture, shown(told))


def _picture(title: str, told: str, height: float, marks: Markup) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}. {}">{}</svg>').format(
        _WIDTH, height, printable(title), printable(told), marks
    )


def _axis(label: str, parts: Iterable[Sequence[float]]) -> Axis:
    """Returns an axis with room for all numbers that are finite, and for a single one."""
    numbers = [one for one in itertools.chain.from_iterable(parts) if math.isfinite(one)]
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    room = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
    return Axis(label, low if low == 0 else low - room, high if high == 0 else high + room)


def _axes(x: Axis, y: Axis) -> Markup:
    pieces = [
        Markup('<path class="axis" d="M{} {}V{}H{}"/>').format(
            _LEFT, _TOP, _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        ),
        _label("middle name", _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2, _HEIGHT - 6, x.label),
        _label("start name", 2, 13, y.label),
    ]
    for tick in y.ticks():
        height = _down(y.at(tick))
        pieces.append(
            Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(_LEFT, height, _WIDTH - _RIGHT)
        )
        pieces.append(_label("end", _LEFT - 7, height + 4, _tick(tick)))
    under = _HEIGHT - _BOTTOM + 18
    pieces += [_label("middle", _over(x.at(tick)), under, _tick(tick)) for tick in x.ticks()]
    return Markup("").join(pieces)


def _label(kind: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(
        kind, x, y, printable(text)
    )


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _hues(series: Sequence[Series]) -> Iterable[str]:
    """Yields the class of each line: its colour and dashes, those of guides being their own."""
    numbers = itertools.count()
    for one in series:
        yield "guide" if one.style == "guide" else f"hue-{next(numbers) % HUES}"


def _series(one: Series, hue: str, x: Axis, y: Axis) -> Markup:
    points = _points(one.x, one.y, x, y)
    drawn = [_band(one, x, y)] if one.style != "dots" else [_whiskers(one, x, y)]
    if one.style != "dots":
        drawn.append(_line(points))
    if one.style in ("dots", "dotted line") or len(points) == 1:
        drawn += [_dot(one.name, at, value) for at, value in zip(points, _finite(one), strict=True)]
    return Markup('<g class="{}">{}</g>').format(hue, Markup("").join(drawn))


def _finite(one: Series) -> list[Point]:
    pairs = zip(one.x, one.y, strict=True)
    return [(a, b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]


def _points(xs: Sequence[float], ys: Sequence[float], x: Axis, y: Axis) -> list[Point]:
    pairs = zip(xs, ys, strict=True)
    return [
        (_over(x.at(a)), _down(y.at(b))) for a, b in pairs if math.isfinite(a) and math.isfinite(b)
    ]


def _line(points: Sequence[Point]) -> Markup:
    return Markup('<polyline class="line" points="{}"/>').format(_spelt(points))


def _band(one: Series, x: Axis, y: Axis) -> Markup:
    if not one.low:
        return Markup("")
    low, high = _points(one.x, one.low, x, y), _points(one.x, one.high, x, y)
    return Markup('<polygon class="band" points="{}"/>').format(_spelt([*low, *reversed(high)]))


def _whiskers(one: Series, x: Axis, y: Axis) -> Markup:
    if not one.low:
        return Markup("")
    ends = zip(_points(one.x, one.low, x, y), _points(one.x, one.high, x, y), strict=True)
    whisker = Markup('<path class="whisker" d="M{:.1f} {:.1f}V{:.1f}"/>')
    return Markup("").join(whisker.format(*low, high[1]) for low, high in ends)


def _dot(name: str, at: Point, value: Point) -> Markup:
    said = f"{printable(name)}: {value[0]:.4g}, {value[1]:.4g}"
    dot = Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="3.5"><title>{}</title></circle>')
    return dot.format(*at, said)


def _key(one: Series, hue: str) -> Markup:
    mark = _line([(1.0, 6.0), (25.0, 6.0)]) if one.style != "dots" else Markup("")
    if one.style in ("dots", "dotted line"):
        mark += Markup('<circle class="dot" cx="13" cy="6" r="3.5"/>')
    return Markup(
        '<li><svg viewBox="0 0 26 12" aria-hidden="true"><g class="{}">{}</g></svg>{}</li>'
    ).format(hue, mark, shown(one.name))


def _row(at: int, name: str, figure: Figure, x: Axis) -> Markup:
    height = at * _ROW + _ROW / 2 + 4
    short = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
    marks = [_label("end name", _NAMES - 10, height + 4, short)]
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
    return _NAMES + x.at(value) * (_WIDTH - _NAMES - _RIGHT)


def _spelt(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _over(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _down(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)
