"""What an episode starts from: prompts, and the lists and files that they are read from.

Knows neither tokens nor environments, nor in which order prompts are drawn: see
`text_gym.prompt_sources`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Prompt:
    """Holds the text that an episode continues, and what reward functions may want beside it."""

    text: str
    """The text itself, before the environment's template is applied."""
    reference: str | None = None
    """The expected answer, if there is one."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Anything else that belongs to the prompt."""
    info: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    """What `reset` reports of the draw: `prompt_id`, the place in a list; `group_id`."""


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


def read_prompts(prompts: Any) -> list[Prompt]:
    """Returns all prompts of a text, a sequence, or a `.txt` or `.jsonl` file.

    Raises:
        TypeError: If `prompts` is none of these.
        ValueError: If a line of a file is no prompt; the message gives its number.
    """
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
