"""A picture of an episode: prompt, completion token by token, and how it ended.

Knows nothing of environments. Every picture of one size and one prompt has its parts in the same
places, so that pictures make a video. Pillow is imported when the first picture is drawn.

What is not done: tokens stand from left to right in the order in which they were written, whatever
the script. Within a token, letters are joined and ordered as their script asks where Pillow has its
Raqm layout, which needs FriBiDi on the system; without it they stand one by one, left to right.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from text_gym.episode import StopReason
from text_gym.rendering.fonts import drawable, load_font, shortened
from text_gym.rendering.layout import Run, wrap
from text_gym.rendering.palette import LIGHT, STEPS, Colour, reach, signed, step_of
from text_gym.rendering.pieces import numbers_of, printable, visible
from text_gym.rendering.text import reward_line

if TYPE_CHECKING:
    from PIL.Image import Image

PAPER, INK, GREY, RULE = (255, 255, 255), (26, 26, 26), (99, 99, 106), (220, 220, 224)
PLAIN = ((238, 238, 235), (224, 224, 220))
"""Tiles of tokens without numbers, by turns."""

SIZE, SMALL = 20, 14
LINE, SMALL_LINE = 30, 22
MARGIN = 24
SHADE, GAP = 5, 8
PROMPT_LINES = 4
LEAST = (320, 400)
"""The smallest width and height in which every part has room."""


def render_image(
    prompt: str,
    pieces: Sequence[str],
    values: ArrayLike | None = None,
    *,
    name: str = "value",
    limit: float | None = None,
    stop_reason: StopReason | None = None,
    reward: float | None = None,
    components: Mapping[str, float] | None = None,
    width: int = 640,
    height: int = 480,
    font: str | Path | None = None,
) -> NDArray[np.uint8]:
    """Returns a picture of an episode, uint8, shape (height, width, 3).

    The prompt is grey, the completion black, every token on a tile: in the colour of its number
    (see `render_tokens`) if there are numbers, else in two greys by turns. Of a text that is too
    long the end is shown, and its heading says so.

    Args:
        prompt: The text that was continued.
        pieces: What each token wrote; see `token_pieces`.
        values: One number per token, shape (T,); a token whose number is NaN has no tile.
        name: What the numbers are.
        limit: The number that is coloured most strongly; defaults to the largest magnitude.
        stop_reason: Why the text ended, once it has.
        reward: The feedback on the text, once it is known.
        components: The terms of the reward, by name.
        width: In pixels, at least 320. Video codecs ask for even numbers.
        height: In pixels, at least 400.
        font: A TrueType or OpenType file, for scripts that the default lacks (DejaVu Sans has
            Latin, Greek, Cyrillic, Hebrew and Arabic). Characters it lacks are shown as escapes.

    Raises:
        ModuleNotFoundError: If Pillow is not installed.
        OSError: If `font` is no font.
        ValueError: If `values` does not hold one number per piece, `limit` is not positive, or the
            picture is too small.
    """
    if width < LEAST[0] or height < LEAST[1]:
        raise ValueError(
            f"width and height must be at least {LEAST[0]} and {LEAST[1]}, got {width} and {height}"
        )
    numbers = None if values is None else numbers_of(values, pieces, "values")
    page = _Page(width, height, font)
    page.write_texts(printable(prompt), _runs(pieces, numbers, limit))
    if numbers is not None:
        page.write_scale(printable(name), reach(numbers, limit))
    state = "being written" if stop_reason is None else f"stop: {stop_reason}"
    paid = "" if reward is None else f"reward: {printable(reward_line(reward, components))}"
    page.write_footer(f"{len(pieces)} token{'' if len(pieces) == 1 else 's'}, {state}", paid)
    return np.array(page.image, dtype=np.uint8)


def require_font(font: str | Path | None) -> None:
    """Requires that pictures can be drawn in a font, if one is named.

    Raises:
        ModuleNotFoundError: If Pillow is not installed.
        OSError: If `font` is no font; the message names it.
    """
    if font is not None:
        _Page(*LEAST, font)


def _runs(
    pieces: Sequence[str], numbers: NDArray[np.float64] | None, limit: float | None
) -> list[Run]:
    if numbers is None:
        return [Run(visible(piece), PLAIN[index % 2]) for index, piece in enumerate(pieces)]
    end = reach(numbers, limit)
    steps = (step_of(number, end) for number in numbers.tolist())
    tiles = (None if step is None else LIGHT[STEPS + step] for step in steps)
    return [Run(visible(piece), tile) for piece, tile in zip(pieces, tiles, strict=True)]


class _Page:
    """Places the parts of a picture: texts at the top, scale and footer at the bottom.

    Args:
        width: In pixels.
        height: In pixels.
        font: A font file, or None for the default.
    """

    def __init__(self, width: int, height: int, font: str | Path | None) -> None:
        try:
            new_image = importlib.import_module("PIL.Image").new
            new_draw = importlib.import_module("PIL.ImageDraw").Draw
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "render_image needs Pillow, which is not installed: pip install 'text-gym[render]'"
            ) from error
        self.image: Image = new_image("RGB", (width, height), PAPER)
        self._draw = new_draw(self.image)
        self._right = width - MARGIN
        self._footer = height - 3 * SMALL_LINE
        path = None if font is None else str(font)
        self._font, self._small = load_font(path, SIZE), load_font(path, SMALL)

    def write_texts(self, prompt: str, completion: Iterable[Run]) -> None:
        """Writes the prompt and, as far as there is room, the completion below it."""
        top = self._write("Prompt", [Run(prompt)], MARGIN // 2, PROMPT_LINES, GREY)
        top += MARGIN // 2
        room = (self._footer - 2 * SMALL_LINE - top) // LINE
        self._write("Completion", completion, top, room, INK)

    def _write(self, heading: str, runs: Iterable[Run], top: int, room: int, ink: Colour) -> int:
        """Writes a heading and the last `room` lines; returns where they end."""
        fitting = (replace(run, text=drawable(run.text, self._font)) for run in runs)
        lines = wrap(fitting, self._font.getlength, self._right - MARGIN)
        if len(lines) > room:
            heading += f" (last {room} of {len(lines)} lines)"
        self._write_small(MARGIN, top, heading)
        top += SMALL_LINE
        for line in lines[-room:]:
            self._write_line(line, top, ink)
            top += LINE
        return top

    def _write_line(self, line: Iterable[Run], top: int, ink: Colour) -> None:
        left = float(MARGIN)
        for run in line:
            right = left + self._font.getlength(run.text)
            if run.tile is not None:
                # The pixel that a token's last tile leaves free parts it from the next token.
                edge = max(round(left), round(right) - 1 - run.closes)
                box = (round(left), top + 2, edge, top + LINE - 3)
                self._draw.rectangle(box, fill=run.tile)
            self._draw.text((left, top + LINE - 9), run.text, ink, self._font, anchor="ls")
            left = right

    def write_scale(self, name: str, limit: float) -> None:
        """Writes what the colours mean, above the footer."""
        top = self._footer - SMALL_LINE
        low, high = f"   {signed(-limit)}", signed(limit)
        taken = SHADE * len(LIGHT) + 2 * GAP + self._small.getlength(low + high)
        name = shortened(drawable(name, self._small), self._small, self._right - MARGIN - taken)
        left = round(self._write_small(MARGIN, top, name + low)) + GAP
        for tile in LIGHT:
            box = (left, top + 4, left + SHADE - 1, top + SMALL_LINE - 5)
            self._draw.rectangle(box, fill=tile)
            left += SHADE
        self._write_small(left + GAP, top, high)

    def write_footer(self, state: str, paid: str) -> None:
        """Writes how far the text is and what it was paid, below a rule."""
        top = self._footer + SMALL_LINE // 2
        self._draw.line((MARGIN, self._footer + 4, self._right, self._footer + 4), fill=RULE)
        self._write_small(MARGIN, top, state, INK)
        self._write_small(MARGIN, top + SMALL_LINE, paid, INK)

    def _write_small(self, left: float, top: int, text: str, ink: Colour = GREY) -> float:
        """Writes one line in small letters, cut at the right margin; returns where it ends."""
        line = drawable(text.replace("\n", " "), self._small)
        line = shortened(line, self._small, self._right - left)
        self._draw.text((left, top + SMALL_LINE - 6), line, ink, self._small, anchor="ls")
        return left + self._small.getlength(line)
