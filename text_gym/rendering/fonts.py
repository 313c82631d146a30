"""The fonts of pictures: where they are found, and what is shown of a character that they lack.

Pillow is imported when a font is first asked for.
"""

from __future__ import annotations

import functools
import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

UNASSIGNED = "\U0010ffff"
"""No font has this one, so that it is drawn as the sign for a missing character."""


@functools.cache
def load_font(path: str | None, size: int) -> FreeTypeFont:
    """Loads a font: the file named, else DejaVu Sans, else the one inside Pillow (Latin only).

    DejaVu Sans is taken from matplotlib, which carries it, before it is looked for among the
    system's fonts: pictures look alike on every machine.

    Raises:
        OSError: If `path` is given and is not a font.
    """
    from PIL import ImageFont

    if path is not None:
        return _named_font(path, size)
    for candidate in (*_carried_by_matplotlib(), "DejaVuSans.ttf"):
        try:
            return ImageFont.truetype(candidate, size)
        except OSError:
            continue
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # a bitmap font where Pillow lacks FreeType
    return font


def _named_font(path: str, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    try:
        return ImageFont.truetype(path, size)
    except OSError as error:
        raise OSError(f"font must be a TrueType or OpenType file, got {path!r}: {error}") from error


def _carried_by_matplotlib() -> Iterator[str]:
    spec = importlib.util.find_spec("matplotlib")  # found, not imported
    for folder in (spec and spec.submodule_search_locations) or ():
        yield str(Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf"))


def drawable(text: str, font: FreeTypeFont) -> str:
    r"""Returns the text with characters that the font lacks shown as escapes (`\u4f60`)."""
    return "".join(
        character if character == "\n" or _has(font, character) else ascii(character)[1:-1]
        for character in text
    )


@functools.cache
def _has(font: FreeTypeFont, character: str) -> bool:
    if character.isascii():
        return True
    single = _without_shaping(font)  # shaping would set a lone mark on a dotted circle
    drawn, missing = single.getmask(character), single.getmask(UNASSIGNED)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


@functools.cache
def _without_shaping(font: FreeTypeFont) -> FreeTypeFont:
    from PIL import ImageFont

    if isinstance(font.path, io.BytesIO):  # the font inside Pillow, read once already
        font.path.seek(0)
    return ImageFont.truetype(font.path, font.size, layout_engine=ImageFont.Layout.BASIC)


def shortened(text: str, font: FreeTypeFont, width: float) -> str:
    """Returns the text, cut and ended with an ellipsis if it is wider than `width`."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
