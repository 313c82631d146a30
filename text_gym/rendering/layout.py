"""Breaking a text whose tokens must stay apart into lines.

Knows widths only through the `measure` it is given, so neither fonts nor pixels.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from text_gym.rendering.palette import Colour

Measure = Callable[[str], float]


@dataclass(frozen=True)
class Run:
    """Text that belongs to one token.

    Attributes:
        text: The letters.
        tile: The colour behind them, or None.
        closes: Whether the token ends with them.
    """

    text: str
    tile: Colour | None = None
    closes: bool = True


def wrap(runs: Iterable[Run], measure: Measure, width: float) -> list[list[Run]]:
    """Breaks runs into lines no wider than `width`: at line breaks, else between words.

    A word may consist of several tokens; one that is wider than a line breaks within. A single
    space may hang over the end of a line.
    """
    lines: list[list[Run]] = [[]]
    used = 0.0
    for word in _words(runs):
        if word[0].text == "\n":
            lines.append([])
            used = 0.0
            continue
        for part, advance in _unbreakable(word, measure, width):
            hangs_over = part[0].text == " " and used <= width
            if used > 0 and width < used + advance and not hangs_over:
                lines.append([])
                used = 0.0
            lines[-1] += part
            used += advance
    return lines


def _unbreakable(
    word: list[Run], measure: Measure, width: float
) -> Iterator[tuple[list[Run], float]]:
    """Yields what must stay in one line, with its width: the word, or its characters."""
    length = sum(measure(run.text) for run in word)
    if length <= width:
        yield word, length
    else:
        yield from (([part], measure(part.text)) for part in _characters(word))


def _words(runs: Iterable[Run]) -> Iterator[list[Run]]:
    """Yields line breaks, stretches of blanks and words, however many tokens wrote each word."""
    word: list[Run] = []
    for run in runs:
        for part in _split(run, re.findall(r"\n|[^\S\n]+|\S+", run.text)):
            if word and (part.text.isspace() or word[-1].text.isspace()):
                yield word
                word = []
            word.append(part)
    if word:
        yield word


def _characters(word: list[Run]) -> Iterator[Run]:
    """Yields the characters of a word, each with its combining marks."""
    for run in word:
        characters: list[str] = []
        for character in run.text:
            if characters and unicodedata.category(character).startswith("M"):
                characters[-1] += character
            else:
                characters.append(character)
        yield from _split(run, characters)


def _split(run: Run, texts: list[str]) -> Iterator[Run]:
    """Yields the run in parts; the last that can be seen closes the token if the run did."""
    last = max((i for i, text in enumerate(texts) if text != "\n"), default=0)
    for index, text in enumerate(texts):
        yield replace(run, text=text, closes=run.closes and index == last)
