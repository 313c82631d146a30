"""Texts of the SWORD project, as they lie in a compressed module: entries in a fixed order.

Two modules of one versification have the same entries in the same order, so that nobody needs to
know how many verses a chapter has. What is in an entry, this module does not know.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

SUFFIXES = ("bzs", "bzv", "bzz")
"""Of the files of a part: where blocks lie, where entries lie in blocks, the blocks."""


class Part(NamedTuple):
    """The three files of a part, the Old or the New Testament, as `SUFFIXES` lists them."""

    blocks: bytes
    entries: bytes
    text: bytes


def read_part(folder: Path, stem: str) -> Part:
    """Reads the files `<stem>.bzs`, `<stem>.bzv` and `<stem>.bzz`."""
    return Part(*((folder / f"{stem}.{suffix}").read_bytes() for suffix in SUFFIXES))


def entries(part: Part) -> list[str]:
    """Returns the entries of a part, headings included, with their markup (OSIS).

    Numbers are little-endian: a block is (offset, length, length when inflated), an entry (block,
    offset, length). Source: `zverse.cpp` of the SWORD library, https://crosswire.org/sword.

    Raises:
        ValueError: If the files are not of this kind.
    """
    try:
        blocks = [
            zlib.decompress(part.text[start : start + size])
            for start, size, _ in struct.iter_unpack("<III", part.blocks)
        ]
        return [
            blocks[block][start : start + size].decode() if size else ""
            for block, start, size in struct.iter_unpack("<IIH", part.entries)
        ]
    except (struct.error, zlib.error, IndexError) as error:
        raise ValueError(f"part must be of a compressed SWORD module, got {error}") from error
