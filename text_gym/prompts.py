"""Where an episode starts: prompts, and the order in which they are drawn.

A source hands out one `Prompt` per episode from the random generator it is given. It knows nothing
of tokens or environments.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

Sampling = Literal["with_replacement", "without_replacement"]


@dataclass(frozen=True)
class Prompt:
    """Holds the text that an episode continues, and what reward functions may want beside it."""

    text: str
    """The text itself, before the environment's template is applied."""
    reference: str | None = None
    """The expected answer, if there is one."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Anything else that belongs to the prompt."""


class PromptSource(ABC):
    """Draws the prompt of each new episode.

    Attributes:
        shared: False if every row of a vector environment draws by itself, from its own random
            stream; True if the rows share the source, which is then drawn from the vector
            environment's stream in the order in which episodes start.
    """

    shared = False

    @property
    def prompts(self) -> Sequence[Prompt] | None:
        """All prompts, where they can be listed."""
        return None

    @abstractmethod
    def draw(self, np_random: np.random.Generator) -> Prompt:
        """Returns the next prompt, using no randomness but `np_random`."""

    def restart(self) -> None:  # noqa: B027  # a stateless source has nothing to forget
        """Forgets the order drawn so far; called when the environment is seeded."""

    def get_state(self) -> dict[str, Any]:
        """Returns what `set_state` needs to go on from here; empty for a stateless source."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027  # nor to remember
        """Goes on from a state that `get_state` returned."""


class UniformPrompts(PromptSource):
    """Draws every prompt with equal probability, independently of the last."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._prompts = _at_least_one(prompts)

    @property
    def prompts(self) -> Sequence[Prompt]:
        """All prompts, in the order given."""
        return self._prompts

    def draw(self, np_random: np.random.Generator) -> Prompt:
        """Returns a uniformly random prompt."""
        return self._prompts[int(np_random.integers(len(self._prompts)))]


class EpochPrompts(PromptSource):
    """Draws every prompt once before any is drawn again, each epoch in a new random order."""

    shared = True

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._prompts = _at_least_one(prompts)
        self._remaining: list[int] = []

    @property
    def prompts(self) -> Sequence[Prompt]:
        """All prompts, in the order given."""
        return self._prompts

    def draw(self, np_random: np.random.Generator) -> Prompt:
        """Returns the next prompt of the epoch, shuffling when a new one begins."""
        if not self._remaining:
            self._remaining = np_random.permutation(len(self._prompts)).tolist()
        return self._prompts[self._remaining.pop()]

    def restart(self) -> None:
        """Begins a new epoch at the next draw."""
        self._remaining = []

    def get_state(self) -> dict[str, Any]:
        """Returns the order of what is left of the epoch."""
        return {"remaining": list(self._remaining)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues an epoch."""
        self._remaining = list(state["remaining"])


class CallablePrompts(PromptSource):
    """Asks a function for each prompt.

    Args:
        function: `function(np_random) -> Prompt`, or anything that `as_prompt` accepts.
    """

    def __init__(self, function: Callable[[np.random.Generator], Any]) -> None:
        self._function = function

    def draw(self, np_random: np.random.Generator) -> Prompt:
        """Returns what the function makes of `np_random`."""
        return as_prompt(self._function(np_random))


def as_prompt(row: Any) -> Prompt:
    """Accepts a `Prompt`, a text, or a mapping with the key `prompt`.

    Of a mapping, `reference` and `metadata` are taken by name; any other key joins the metadata.

    Raises:
        TypeError: If `row`, or the text in it, is none of these, or the reference is no text.

    Example:
        >>> as_prompt({"prompt": "2 + 2 =", "reference": "4", "level": 1})
        Prompt(text='2 + 2 =', reference='4', metadata={'level': 1})
    """
    if isinstance(row, Mapping) and "prompt" in row:
        rest = {k: v for k, v in row.items() if k not in ("prompt", "reference", "metadata")}
        metadata = {**(row.get("metadata") or {}), **rest}
        row = Prompt(row["prompt"], row.get("reference"), metadata)
    prompt = row if isinstance(row, Prompt) else Prompt(row)
    if not isinstance(prompt.text, str):
        raise TypeError(
            f"prompts must yield a str, a Prompt or a mapping with a 'prompt' text, got {row!r}"
        )
    if not isinstance(prompt.reference, str | None):
        raise TypeError(f"the reference of a prompt must be a str or None, got {row!r}")
    return prompt


def as_prompt_source(prompts: Any, sampling: Sampling = "with_replacement") -> PromptSource:
    """Makes a source of whatever holds prompts.

    Args:
        prompts: A `PromptSource`; one text; a sequence (of texts, `Prompt`s or mappings, so also a
            Hugging Face dataset); the path of a `.txt` file (one prompt a line) or a `.jsonl` file
            (one JSON text or object a line); or a callable given a `numpy.random.Generator`.
        sampling: `"with_replacement"` or `"without_replacement"`; for listed prompts only.

    Raises:
        ValueError: If there is no prompt, or `sampling` is unknown.
        TypeError: If `prompts` is none of the above.
    """
    kinds = {"with_replacement": UniformPrompts, "without_replacement": EpochPrompts}
    if sampling not in kinds:
        raise ValueError(f"sampling must be one of {sorted(kinds)}, got {sampling!r}")
    if isinstance(prompts, PromptSource):
        return prompts
    if callable(prompts):
        return CallablePrompts(prompts)
    return kinds[sampling](_listed(prompts))


def _listed(prompts: Any) -> list[Prompt]:
    if isinstance(prompts, str | Path) and Path(prompts).suffix in (".txt", ".jsonl"):
        return _read(Path(prompts))
    if isinstance(prompts, str | Prompt):
        return [as_prompt(prompts)]
    if isinstance(prompts, Iterable) and not isinstance(prompts, bytes | Mapping):
        return [as_prompt(row) for row in prompts]
    raise TypeError(
        "prompts must be a text, a sequence, a .txt or .jsonl path, a callable or a PromptSource, "
        f"got {prompts!r}"
    )


def _read(path: Path) -> list[Prompt]:
    """Reads one prompt a line; blank lines are skipped."""
    with path.open(encoding="utf-8") as file:
        lines = [(n, line.rstrip("\n")) for n, line in enumerate(file, start=1) if line.strip()]
    if path.suffix == ".txt":
        return [Prompt(line) for _, line in lines]
    rows = []
    for number, line in lines:
        try:
            rows.append(as_prompt(json.loads(line)))
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(f"prompts file {path}, line {number}: {error}") from error
    return rows


def _at_least_one(prompts: Sequence[Prompt]) -> Sequence[Prompt]:
    if not prompts:
        raise ValueError(f"prompts must hold at least one prompt, got {prompts!r}")
    return prompts
