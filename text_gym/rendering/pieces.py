"""Which part of a text each token wrote, and how that part is made visible.

Knows nothing of colours, terminals or pages.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import TokenIds

NOTHING = "∅"
"""Stands for a token that adds no text."""

LINE_BREAK = "↵"
"""Stands before each line break, so that the token which wrote it can be seen."""

BASE = "◌"
"""Carries a combining mark that would otherwise sit on the token before."""


def printable(text: str) -> str:
    r"""Returns the text with control characters, but for line breaks, shown as escapes.

    The invisible controls of direction and joining are escaped as well: a joined emoji comes apart.

    Example:
        >>> printable("red \x1b[31m alert")
        'red \\x1b[31m alert'
    """
    return "".join(
        character if character.isprintable() or character == "\n" else ascii(character)[1:-1]
        for character in text
    )


def visible(piece: str) -> str:
    r"""Returns the text of one token as it is shown: printable, never empty, standing by itself.

    Example:
        >>> visible(""), visible("a\nb"), visible("\u0301") == "◌\u0301"
        ('∅', 'a↵\nb', True)
    """
    lines = [
        BASE + line if line and unicodedata.category(line[0]).startswith("M") else line
        for line in printable(piece).split("\n")
    ]
    return f"{LINE_BREAK}\n".join(lines) or NOTHING


def token_pieces(token_ids: TokenIds, decode: Callable[[TokenIds], str]) -> list[str]:
    """Splits a text into what each of its tokens wrote.

    A piece is what becomes certain of the text with its token. The pieces join to the whole text,
    spaces between words included; a character that several tokens spell belongs to the one that
    completes it. Tokens that add nothing (the ones before that, EOS, special tokens) have an empty
    piece. Calls `decode` T times, on 1 to T tokens.

    Args:
        token_ids: The tokens, shape (T,).
        decode: Turns token ids into text: `Episode.decode`, or the method of a `Tokenizer`.

    Returns:
        T texts.

    Example:
        >>> from text_gym.tokenizers import WordTokenizer
        >>> token_pieces(np.array([0, 1, 2, 3]), WordTokenizer(["how", "are", "?"]).decode)
        ['how', ' are', '?', '']
    """
    text = decode(token_ids)
    pieces, certain = [], 0
    for length in range(1, len(token_ids) + 1):
        part = decode(token_ids[:length])
        agreed = len(part) if text.startswith(part) else _agreement(part, text)
        pieces.append(text[certain:agreed])
        certain = max(certain, agreed)
    return pieces


def _agreement(one: str, other: str) -> int:
    """Returns how many characters the two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def numbers_of(values: Any, pieces: Sequence[str], name: str) -> NDArray[np.float64]:
    """Returns `values` as one float per token, shape (T,); raises ValueError if they are not."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(pieces),):
        raise ValueError(
            f"{name} must hold one number per token, shape ({len(pieces)},), "
            f"got shape {numbers.shape}"
        )
    return numbers
