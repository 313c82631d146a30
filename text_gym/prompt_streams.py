"""The prompts of the rows of a vector environment, and the random streams they are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding

from text_gym.task import EncodedPrompt, TextTask


class PromptStreams:
    """Draws prompts for n rows: each from its own stream, or all from one that they share.

    Args:
        task: Has the source of prompts.
        n: Number of rows.
    """

    def __init__(self, task: TextTask, n: int) -> None:
        self._task = task
        self._streams: list[np.random.Generator | None] = [None] * n

    def seed(self, seed: int | Sequence[int | None], rows: Sequence[int]) -> int | None:
        """Seeds the streams of `rows`, and restarts the source of prompts.

        Args:
            seed: Row i is seeded with `seed + i`, or with `seed[i]` if that is no None.
            rows: Which.

        Returns:
            The first seed; None if there is none, and nothing was seeded.

        Raises:
            TypeError: If `seed` is neither an int nor a sequence.
            ValueError: If there is not one for each row.
        """
        n = len(self._streams)
        if not isinstance(seed, int | list | tuple | np.ndarray):
            raise TypeError(f"seed must be an int or {n} of them, got {seed!r}")
        seeds = [seed + row for row in range(n)] if isinstance(seed, int) else seed
        if len(seeds) != n:
            raise ValueError(f"seed must be an int or {n} of them, got {seed}")
        first = next((one for one in seeds if one is not None), None)
        if first is not None:
            self._task.source.restart()
        for row in rows:
            if seeds[row] is not None:
                self._streams[row], _ = seeding.np_random(seeds[row])
        return first

    def draw(self, rows: Sequence[int], shared: np.random.Generator) -> list[EncodedPrompt]:
        """Returns a prompt for each of `rows`, in their order.

        Args:
            rows: Where episodes start.
            shared: The stream for a source that rows share.
        """
        draw = self._task.draw
        if self._task.source.shared:
            return [draw(shared) for _ in rows]
        streams = self._streams
        return [draw(streams[row] or self._stream(row)) for row in rows]

    def given(
        self, options: Mapping[str, Any], rows: Sequence[int], shared: np.random.Generator
    ) -> list[EncodedPrompt]:
        """Returns the prompts that the options of `reset` name, or draws them."""
        prompt, prompt_id = options.get("prompt"), options.get("prompt_id")
        if prompt is None and prompt_id is None:
            return self.draw(rows, shared)
        n = len(self._streams)
        prompts = _per_row(prompt, "prompt", n)
        prompt_ids = _per_row(prompt_id, "prompt_id", n)
        return [self._task.given(prompts[row], prompt_ids[row]) for row in rows]

    def draw_seed(self, row: int) -> int:
        """Returns a seed from a row's own stream, for whoever continues its text."""
        return drawn_seed(self._stream(row))

    def get_state(self, row: int) -> Mapping[str, Any] | None:
        """Returns the state of a row's stream; None if it has none yet."""
        stream = self._streams[row]
        return None if stream is None else stream.bit_generator.state

    def set_state(self, row: int, state: Mapping[str, Any] | None) -> None:
        """Restores what `get_state` returned; None leaves the stream as it is."""
        if state is not None:
            self._stream(row).bit_generator.state = state

    def _stream(self, row: int) -> np.random.Generator:
        stream = self._streams[row]
        if stream is None:
            stream, _ = seeding.np_random(None)
            self._streams[row] = stream
        return stream


def drawn_seed(np_random: np.random.Generator) -> int:
    """Returns a seed that depends on a stream and on nothing else, in [0, 2^63)."""
    return int(np_random.integers(2**63))


def _per_row(given: Any, name: str, n: int) -> list[Any]:
    """Returns one value per row of what is given for all, or already per row."""
    if not isinstance(given, list | tuple | np.ndarray):
        return [given] * n
    if len(given) != n:
        raise ValueError(f"options[{name!r}] must name {n} prompts, got {given!r}")
    return list(given)
