"""Random streams of a wrapper's own, one per row: `RowStreams`.

They are seeded with the environment's seed but are independent of its stream, so that what a
wrapper draws never shifts the prompts.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np


class RowStreams:
    """Holds one generator per row.

    Args:
        name: Of the wrapper; wrappers of different names draw independently under one seed.

    Example:
        >>> streams = RowStreams("noise")
        >>> streams.seed(0, 7), streams.seed(1, 7)
        (None, None)
        >>> bool(streams[0].random() == streams[1].random())
        True
    """

    def __init__(self, name: str) -> None:
        self._spawn_key = (zlib.crc32(name.encode()),)
        self._streams: dict[int, np.random.Generator] = {}

    def seed(self, row: int, seed: int) -> None:
        """Starts the stream of a row anew."""
        sequence = np.random.SeedSequence(seed, spawn_key=self._spawn_key)
        self._streams[row] = np.random.Generator(np.random.PCG64(sequence))

    def __getitem__(self, row: int) -> np.random.Generator:
        """Returns the stream of a row; one that was never seeded starts anywhere."""
        if row not in self._streams:
            self._streams[row] = np.random.Generator(np.random.PCG64())
        return self._streams[row]

    def get_state(self) -> list[tuple[int, Any]]:
        """Returns the position of every stream by row."""
        return [(row, stream.bit_generator.state) for row, stream in self._streams.items()]

    def set_state(self, state: list[tuple[int, Mapping[str, Any]]]) -> None:
        """Goes on from positions that `get_state` returned."""
        self._streams = {}
        for row, position in state:
            self[row].bit_generator.state = position
