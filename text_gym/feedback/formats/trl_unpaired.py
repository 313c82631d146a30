"""Labelled completions as TRL reads them: JSON lines of `prompt`, `completion`, `label`.

With the weight and the ids of the judgements, which TRL leaves alone. Conversations are lists of
messages.

Source: https://huggingface.co/docs/trl/dataset_formats (unpaired preference)
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
from text_gym.feedback.preferences import Label


def write(labels: Iterable[Label]) -> Iterator[str]:
    """Yields the lines of the file."""
    return json_lines(
        {
            "prompt": prompt_to_json(one.prompt),
            "completion": completion_to_json(one.prompt, one.completion),
            "label": one.good,
            "weight": one.weight,
            "judgements": list(one.judgements),
        }
        for one in labels
    )


def read(path: Path) -> list[Label]:
    """Reads a file; a weight that is missing is 1, judgements none.

    Raises:
        OSError: If there is no such file.
        ValueError: If a line is not as said; names line, field and value.
    """
    return read_json_lines(path, _label)


def _label(row: Row) -> Label:
    return Label(
        prompt=prompt_from_json(row),
        completion=completion_from_json(row, "completion"),
        good=require(row, "label", bool),
        weight=require(row, "weight", float, 1.0),
        judgements=judgements_from_json(row),
    )
