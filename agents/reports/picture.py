"""What all plots are made of: a frame, axes, labels, as SVG within the page.

No script, no library; colours are those of the style sheet. Every plot has a title and a sentence
that says in words what it shows. Knows numbers, and nothing of policies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from text_gym.feedback.server.shown import shown
from text_gym.rendering.axes import Axis
from text_gym.rendering.pieces import printable

WIDTH = 420
"""Of every picture, in the unit of its coordinates."""


def framed(title: str, told: str, drawn: Markup) -> Markup:
    """Returns a plot with its title above and what it shows below."""
    return Markup(
        '<figure class="plot"><figcaption>{}</figcaption>\n{}<p class="told">{}</p></figure>'
    ).format(shown(title), drawn, shown(told))


def picture(title: str, told: str, height: float, marks: Markup) -> Markup:
    """Returns marks as a picture, which a screen reader is told in words."""
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}. {}">{}</svg>').format(
        WIDTH, height, printable(title), printable(told), marks
    )


def axis_over(label: str, parts: Iterable[Sequence[float]]) -> Axis:
    """Returns an axis with room for all numbers that are finite, and for a single one."""
    numbers = [one for one in itertools.chain.from_iterable(parts) if math.isfinite(one)]
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    room = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
    return Axis(label, low if low == 0 else low - room, high if high == 0 else high + room)


def label(kind: str, x: float, y: float, text: str) -> Markup:
    """Returns a text at a place; `kind` is its class in the style sheet."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(
        kind, x, y, printable(text)
    )


def tick(value: float) -> str:
    """Returns a number at an axis."""
    return f"{value:g}".replace("-", "−")
