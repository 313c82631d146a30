"""Prompts that somebody has listed: one text, a file, or a data set of the library `datasets`.

Knows nothing of what is held out, nor of the prompts of applications.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from agents.runs.named_arguments import named_arguments
from text_gym import Prompt
from text_gym.prompts import as_prompt, read_prompts

HUB = "hub:"
"""What a name on the Hugging Face hub begins with."""
_COLUMNS = ("prompt", "reference")
_KEYS = ("split", "config", *_COLUMNS)


def read_listed(name: str) -> list[Prompt]:
    """Returns the prompts of an option.

    Args:
        name: A text or a file, as `read_prompts` takes them; a folder that `datasets` saved, or
            `hub:owner/name`; or one of these two, as JSON, with its `split` and `config`, and which
            columns are `prompt` and `reference`.

    Raises:
        ModuleNotFoundError: If a data set is named and `datasets` is missing; names the extra.
        ValueError: If there is no such data set, split or column.
    """
    source, about = _parsed(name)
    if not _is_data_set(source):
        if about:
            raise ValueError(
                f"prompts must be a folder of datasets or hub:owner/name to say {sorted(about)} of "
                f"it, got {source!r}"
            )
        return read_prompts(source)
    rows = _load(source, about)
    named = {about[one]: one for one in _COLUMNS if one in about}
    _require_columns(source, rows.column_names, named)
    return [as_prompt({named.get(key, key): value for key, value in row.items()}) for row in rows]


def _require_columns(source: str, columns: Sequence[str], named: Mapping[str, str]) -> None:
    missing = sorted(named.keys() - set(columns))
    if missing:
        raise ValueError(f"prompts must name columns of {source}, {columns}, got {missing}")
    if not {"prompt", "messages"} & {named.get(one, one) for one in columns}:
        said = json.dumps({source: {"prompt": columns[0]}})
        raise ValueError(
            f"prompts must have a column prompt or messages, or be told which is, as {said}, got "
            f"{columns}"
        )


def anchored_prompts(name: str) -> str:
    """Returns the option so that a file or folder is found from any working folder."""
    source, about = _parsed(name)
    source = os.path.abspath(source) if os.path.exists(source) else source
    return json.dumps({source: about}, ensure_ascii=False) if about else source


def _parsed(name: str) -> tuple[str, Mapping[str, Any]]:
    """Returns where prompts are, and what is said of it."""
    said = named_arguments(name, "prompts") if _is_json(name) else {name: {}}
    ((source, about), *others) = said.items()
    if others:
        raise ValueError(f"prompts must be of one place, got {[source, *dict(others)]}")
    texts = isinstance(about, dict) and all(isinstance(one, str) for one in about.values())
    if not texts or not about.keys() <= set(_KEYS):
        raise ValueError(f"prompts must say texts of {source}, by {_KEYS}, got {about!r}")
    return source, about


def _is_json(name: str) -> bool:
    """Tells what is said of a place from a text, which may begin as JSON does."""
    try:
        return isinstance(json.loads(name), dict)
    except ValueError:
        return False


def _is_data_set(source: str) -> bool:
    return source.startswith(HUB) or os.path.isdir(source)


def _load(source: str, about: Mapping[str, str]) -> Any:
    """Returns a data set of the library."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        if error.name != "datasets":
            raise
        raise ModuleNotFoundError(
            f"prompts of {source} need datasets: pip install 'text-gym[datasets]'", name="datasets"
        ) from error
    try:
        if source.startswith(HUB):
            split = about.get("split", "train")
            name = source.removeprefix(HUB)
            return datasets.load_dataset(name, about.get("config"), split=split)
        found = datasets.load_from_disk(source)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(
            f"prompts must be a data set that can be loaded, got {source}: {error}"
        ) from error
    if not isinstance(found, datasets.DatasetDict):
        return found
    split = about.get("split", "train")
    if split not in found:
        raise ValueError(f"prompts must name a split of {source}, {[*found]}, got {split!r}")
    return found[split]
