r"""A text as a page shows it: whatever is in it, it is read and never obeyed.

Nothing in a text is markup. Control characters, and those that turn the direction of what follows,
are shown by name. What scripts need stays as it is: joiners, marks, spaces of every width. (A
terminal needs more caution: see `text_gym.rendering.pieces.printable`.)

Knows nothing of pages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

_LINE_END = re.compile("\r\n?")
_ZERO_WIDTH_NON_JOINER, _ZERO_WIDTH_JOINER = "\u200c", "\u200d"
_LEFT_TO_RIGHT_MARK, _RIGHT_TO_LEFT_MARK, _ARABIC_MARK = "\u200e", "\u200f", "\u061c"
_KEPT = {
    "\n", "\t", _ZERO_WIDTH_NON_JOINER, _ZERO_WIDTH_JOINER, _LEFT_TO_RIGHT_MARK,
    _RIGHT_TO_LEFT_MARK, _ARABIC_MARK,
}  # fmt: skip
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def shown(text: str) -> Markup:
    r"""Returns a text as HTML.

    Example:
        >>> print(shown("<b>\x1b[1m"))
        &lt;b&gt;<span class="sign" title="U+001B">U+001B</span>[1m
    """
    return Markup("").join(map(_shown, _LINE_END.sub("\n", text)))


def _shown(character: str) -> Markup:
    if character in _KEPT or unicodedata.category(character) not in _INVISIBLE:
        return escape(character)
    code = ord(character)
    name = f"U+{code:04X} {unicodedata.name(character, '')}".rstrip()
    return Markup('<span class="sign" title="{}">{}</span>').format(name, f"U+{code:04X}")


class Block(NamedTuple):
    """Holds a paragraph, a heading or a list of a text that a researcher wrote."""

    kind: str
    """"p", "h2" or "ul"."""
    lines: Sequence[str]
    """Of a list, its points."""


def blocks(text: str) -> Iterator[Block]:
    r"""Yields what guidelines and consent texts are made of; see `text_gym.feedback.texts`.

    Example:
        >>> list(blocks("# Why\n\nYou\nread.\n\n- one\n- two\n  lines"))
        ... # doctest: +NORMALIZE_WHITESPACE
        [Block(kind='h2', lines=['Why']), Block(kind='p', lines=['You read.']),
         Block(kind='ul', lines=['one', 'two lines'])]
    """
    for part in re.split(r"\n\s*\n|(?<=\n)(?=# )", _LINE_END.sub("\n", text)):
        heading, _, rest = part.strip().partition("\n")
        if heading.startswith("# "):
            yield Block("h2", [heading[2:].strip()])
            part = rest
        if part.lstrip().startswith("- "):
            points = re.split(r"(?:^|\n)\s*- ", part.strip())[1:]
            yield Block("ul", [" ".join(point.split()) for point in points])
        elif part.strip():
            yield Block("p", [" ".join(part.split())])
