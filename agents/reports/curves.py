"""Lines and points over one axis, with the bands in which they are known.

Lines differ by dashes too, for who prints in grey; their names stand below. Knows numbers, and
nothing of policies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from agents.reports.picture import WIDTH, axis_over, framed, label, picture, tick
from text_gym.feedback.server.shown import shown
from text_gym.rendering.axes import Axis
from text_gym.rendering.pieces import printable

_HEIGHT = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 26, 40
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
        x = axis_over(self.x_label, [one.x for one in self.series])
        heights = (part for one in self.series for part in (one.y, one.low, one.high))
        y = axis_over(self.y_label, heights)
        hues = list(_hues(self.series))
        drawn = Markup("").join(
            _series(one, hue, x, y) for one, hue in zip(self.series, hues, strict=True)
        )
        legend = Markup("").join(_key(one, hue) for one, hue in zip(self.series, hues, strict=True))
        drawn_picture = picture(self.title, self.told, _HEIGHT, _axes(x, y) + drawn)
        key = Markup('<ul class="key">{}</ul>').format(legend)
        return framed(self.title, self.told, drawn_picture + key)


def _axes(x: Axis, y: Axis) -> Markup:
    pieces = [
        Markup('<path class="axis" d="M{} {}V{}H{}"/>').format(
            _LEFT, _TOP, _HEIGHT - _BOTTOM, WIDTH - _RIGHT
        ),
        label("middle name", _LEFT + (WIDTH - _LEFT - _RIGHT) / 2, _HEIGHT - 6, x.label),
        label("start name", 2, 13, y.label),
    ]
    for value in y.ticks():
        height = _down(y.at(value))
        pieces.append(
            Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(_LEFT, height, WIDTH - _RIGHT)
        )
        pieces.append(label("end", _LEFT - 7, height + 4, tick(value)))
    under = _HEIGHT - _BOTTOM + 18
    pieces += [label("middle", _over(x.at(value)), under, tick(value)) for value in x.ticks()]
    return Markup("").join(pieces)


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


def _spelt(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _over(share: float) -> float:
    return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def _down(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)
