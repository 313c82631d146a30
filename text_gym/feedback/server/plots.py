"""The researcher's plots, drawn as SVG within the page: no script, no library, no colours.

Colours and lines are those of the style sheet, so that they follow light and dark. Every plot has a
title and a sentence that says in words what it shows. Knows numbers, and nothing of studies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from text_gym.rendering.axes import Axis
from text_gym.rendering.pieces import printable

WIDTH, HEIGHT = 340, 215
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 24, 38
_BARS = 10


class Dot(NamedTuple):
    """Holds one point of a plot of points."""

    name: str
    x: float
    y: float
    is_marked: bool = False
    """Stands out."""


def progress_plot(times: Sequence[float], wanted: int) -> Markup:
    """Returns how many judgements there were at each time, with the number that is wanted.

    Args:
        times: Of the judgements, in seconds, ascending.
        wanted: Judgements in all.
    """
    hours = [(time - times[0]) / 3600 for time in times]
    unit, per_hour = _unit(hours[-1] if hours else 0.0)
    x = Axis(f"{unit} since the first", 0, max(hours[-1] * per_hour if hours else 0.0, 1e-9))
    y = Axis("judgements", 0, max(wanted, len(times), 1))
    steps = [(x.at(0), 0.0)]
    for count, hour in enumerate(hours, 1):
        steps += [(x.at(hour * per_hour), y.at(count - 1)), (x.at(hour * per_hour), y.at(count))]
    line = Markup('<polyline class="line" points="{}"/>').format(
        " ".join(f"{_across(h):.1f},{_down(v):.1f}" for h, v in _thinned(steps))
    )
    goal = Markup('<line class="goal" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
        _LEFT, WIDTH - _RIGHT, _down(y.at(wanted)), _down(y.at(wanted))
    )
    told = f"{len(times)} of {wanted} judgements."
    return _plot("Progress", told, x, y, goal + line)


def skill_plot(dots: Sequence[Dot]) -> Markup:
    """Returns how skilled each annotator is, against the median seconds of a judgement.

    Args:
        dots: x the seconds, y the skill from 0 to 1.
    """
    x = Axis("median seconds", 0, max([1.0, *(dot.x for dot in dots)]) * 1.1)
    y = Axis("skill", 0, 1)
    marks = Markup("").join(
        Markup(
            '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}</title></circle>'
        ).format(
            "dot marked" if dot.is_marked else "dot",
            _across(x.at(dot.x)), _down(y.at(dot.y)),
            f"{printable(dot.name)}: skill {dot.y:.2f}, {dot.x:.1f} s",
        )
        for dot in dots
    )  # fmt: skip
    marked = sum(dot.is_marked for dot in dots)
    told = f"{len(dots)} annotators, {marked} of them stopped or left out."
    return _plot("Skill and time", told, x, y, marks)


def agreement_plot(shares: Sequence[float]) -> Markup:
    """Returns on how many items people agree how far.

    Args:
        shares: Of each item that was judged at least twice, the share of pairs of answers that are
            equal.
    """
    counts = [0] * _BARS
    for share in shares:
        counts[min(int(share * _BARS), _BARS - 1)] += 1
    x, y = Axis("share of equal pairs", 0, 1), Axis("items", 0, max([1, *counts]))
    step = (WIDTH - _LEFT - _RIGHT) / _BARS
    bars = Markup("").join(
        Markup(
            '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
            "<title>{}</title></rect>"
        ).format(
            _LEFT + at * step + 1, _down(y.at(count)), step - 2, _down(0) - _down(y.at(count)),
            f"{count} items",
        )
        for at, count in enumerate(counts)
    )  # fmt: skip
    return _plot("Agreement by item", f"{len(shares)} items were judged twice or more.", x, y, bars)


def _plot(title: str, told: str, x: Axis, y: Axis, marks: Markup) -> Markup:
    return Markup(
        '<figure class="plot"><figcaption>{}</figcaption>'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}. {}">{}{}</svg></figure>'
    ).format(title, WIDTH, HEIGHT, title, told, _axes(x, y), marks)


def _axes(x: Axis, y: Axis) -> Markup:
    lines = Markup('<path class="axis" d="M{} {}V{}H{}"/>').format(
        _LEFT, _TOP, HEIGHT - _BOTTOM, WIDTH - _RIGHT
    )
    ticks = [
        _label("end", _LEFT - 6, _down(y.at(value)) + 4, f"{value:g}") for value in y.ticks()
    ] + [
        _label("middle", _across(x.at(value)), HEIGHT - _BOTTOM + 16, f"{value:g}")
        for value in x.ticks()
    ]
    names = [
        _label("middle", _LEFT + (WIDTH - _LEFT - _RIGHT) / 2, HEIGHT - 6, x.label),
        _label("start", 2, 11, y.label),
    ]
    return lines + Markup("").join(ticks + names)


def _label(anchor: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(anchor, x, y, text)


def _unit(hours: float) -> tuple[str, float]:
    """Returns the unit in which a stretch of time is read best, and how many make an hour."""
    return ("days", 1 / 24) if hours > 72 else ("hours", 1.0) if hours > 2 else ("minutes", 60.0)


def _thinned(
    points: Sequence[tuple[float, float]], most: int = 1_000
) -> Sequence[tuple[float, float]]:
    """Leaves out points that nobody could tell apart, but never the last."""
    step = max(1, math.ceil(len(points) / most))
    return [*points[::step], points[-1]]


def _across(share: float) -> float:
    return _LEFT + share * (WIDTH - _LEFT - _RIGHT)


def _down(share: float) -> float:
    return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)
