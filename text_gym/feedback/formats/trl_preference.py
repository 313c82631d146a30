"""Preferences as TRL reads them: JSON lines of `prompt`, `chosen`, `rejected`.

With `margin`, which TRL's reward trainer reads too, with `weight`, which `agents.dpo` reads, and
with the ids of the judgements, which both leave alone. Conversations are lists of messages, as TRL
has them.

Source: https://huggingface.co/docs/trl/dataset_formats
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from text_gym.feedback.formats.json_text import Row, json_lines, read_json_lines, require
from text_gym.feedback.formats.messages import (
    completion_from_json,
    completion_to_json,
    prompt_from_json,
    prompt_to_json,
)
from text_gym.feedback.formats.sources import judgements_from_json
from text_gym.feedback.preferences import Preference
from text_gym.quoting import quoted


def write(preferences: Iterable[Preference]) -> Iterator[str]:
    r"""Yields the lines of the file.

    Example:
        >>> blue = Preference("The sky is", " blue.", " green.", judgements=("j1",))
        >>> print(*write([blue]), end="")
        {"prompt": "The sky is", "chosen": " blue.", "rejected": " green.", "margin": 0.0,
        "weight": 1.0, "judgements": ["j1"]}
    """
    return json_lines(
        {
            "prompt": prompt_to_json(one.prompt),
            "chosen": completion_to_json(one.prompt, one.chosen),
            "rejected": completion_to_json(one.prompt, one.rejected),
            "margin": one.margin,
            "weight": one.weight,
            "judgements": list(one.judgements),
        }
        for one in preferences
    )


def read(path: Path) -> list[Preference]:
    """Reads a file; a margin that is missing is 0, a weight 1, judgements none.

    Raises:
        OSError: If there is no such file.
        ValueError: If a line is not as said; names line, field and value.
    """
    return read_json_lines(path, _preference)


def _preference(row: Row) -> Preference:
    one = Preference(
        prompt=prompt_from_json(row),
        chosen=completion_from_json(row, "chosen"),
        rejected=completion_from_json(row, "rejected"),
        margin=require(row, "margin", float, 0.0),
        weight=require(row, "weight", float, 1.0),
        judgements=judgements_from_json(row),
    )
    if one.chosen == one.rejected:
        raise ValueError(f"rejected must differ from chosen, got {quoted(one.rejected)} for both")
    return one
