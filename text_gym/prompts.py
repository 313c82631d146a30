"""What an episode starts from: prompts, and the lists and files that they are read from.

Knows neither tokens nor environments, nor in which order prompts are drawn: see
`text_gym.prompt_sources`.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from text_gym.chat import Message, as_messages, readable
from text_gym.lines import parse_json, read_lines
from text_gym.order import require_order
from text_gym.quoting import quoted

SUFFIXES = (".txt", ".jsonl", ".csv")
_HUB = "hub:"
_PLACE = re.compile(
    rf"{_HUB}\S+"
    r"|\S+\.[A-Za-z]\w{0,7}"
    r"|(?:~|\.{1,2})/[\w./-]+"
    r"|/?(?:[A-Za-z][\w.-]*/)+[\w.-]*"
)
"""One word that is a data set's on the hub, ends as a file's name does, or has folders before it:
more likely where prompts are than a prompt."""


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
    messages: Sequence[Message] | None = field(default=None, repr=False)
    """What `text` says as messages, each with a role; for a chat template."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Prompt:
        """Returns itself: it never changes, and a source may hold many."""
        return self


def as_prompt(row: Any) -> Prompt:
    """Accepts a `Prompt`, a text, messages, or a mapping with the key `prompt` or `messages`.

    Of a mapping, `reference` and `metadata` are taken by name; any other key joins the metadata,
    and so do messages, of which the prompt's text has a line each.

    Raises:
        TypeError: If `row`, or the text in it, is none of these, or the reference is no text.

    Example:
        >>> as_prompt({"prompt": "2 + 2 =", "reference": "4", "level": 1})
        Prompt(text='2 + 2 =', reference='4', metadata={'level': 1})
    """
    prompt = row if isinstance(row, Prompt) else _of_row(row)
    if not isinstance(prompt.text, str):
        raise TypeError(
            "prompts must yield a str, a Prompt, messages or a mapping with a 'prompt' text, "
            f"got {quoted(row)}"
        )
    if not isinstance(prompt.reference, str | None):
        raise TypeError(f"the reference of a prompt must be a str or None, got {quoted(row)}")
    return prompt


def _of_row(row: Any) -> Prompt:
    """Returns the prompt of a mapping, a text or messages."""
    key = next(
        (key for key in ("prompt", "messages") if isinstance(row, Mapping) and key in row), None
    )
    if key is None:
        return _said(row)
    rest = {k: v for k, v in row.items() if k not in (key, "reference", "metadata")}
    metadata = {**(row.get("metadata") or {}), **rest}
    return _said(row[key], row.get("reference"), metadata)


def _said(text: Any, reference: str | None = None, metadata: Any = None) -> Prompt:
    """Returns the prompt of a text, or of messages."""
    is_list = isinstance(text, list | tuple) and len(text) > 0
    if not is_list or not all(isinstance(one, Mapping) for one in text):
        return Prompt(text, reference, metadata or {})
    messages = as_messages(text)
    metadata = {**(metadata or {}), "messages": messages}  # for reward functions
    return Prompt(readable(messages), reference, metadata, messages=messages)


PromptLike = str | Prompt | Mapping[str, Any] | Sequence[Message]
"""One prompt: its text; itself; its messages; or a mapping with `prompt` and, if given, more."""

PromptList = PromptLike | Path | Collection[PromptLike]
"""One prompt, a sequence of them (a Hugging Face dataset too), or a file of `SUFFIXES`."""


def read_prompts(prompts: PromptList) -> list[Prompt]:
    """Returns all prompts of a text, a sequence, or a `.txt`, `.jsonl` or `.csv` file.

    Of a `.csv` file the first row names the columns, and an empty cell says nothing. A text of one
    word that looks like a path (`"prompts.tsv"`, `"data/prompts"`, `"hub:owner/name"`), or that
    names what exists, is taken for one. What has no length is refused, as it may be endless; so is
    what has no order, and a table, which is a sequence of columns.

    Raises:
        TypeError: If `prompts` is none of these.
        ValueError: If a path has another suffix, or a line of a file is no prompt; the message
            gives its number.
    """
    if isinstance(prompts, Path) or (isinstance(prompts, str) and _names_a_place(prompts)):
        return _read(Path(prompts))
    if isinstance(prompts, str | Prompt):
        return [as_prompt(prompts)]
    require_order(prompts, "prompts")
    if isinstance(prompts, Iterable) and not isinstance(prompts, bytes | Mapping):
        return _rows(prompts)
    raise TypeError(
        "prompts must be a text, a sequence, a path of a file, a callable or a PromptSource, "
        f"got {quoted(prompts)}"
    )


def _rows(prompts: Iterable[Any]) -> list[Prompt]:
    if not isinstance(prompts, Sized):
        raise TypeError(
            "prompts must have a length, as an iterator may be endless; give list(prompts), or a "
            f"callable that returns the next prompt, got {quoted(prompts)}"
        )
    rows = list(prompts)
    # A table of a `datasets` library has columns too, but its rows are what it iterates over.
    is_table = hasattr(prompts, "columns") or hasattr(prompts, "column_names")
    if is_table and not all(isinstance(row, Mapping) for row in rows):
        kind = f"{type(prompts).__module__}.{type(prompts).__name__}"
        raise TypeError(
            "prompts must be a sequence of rows, not a table, which is one of columns; give its "
            f"rows as mappings (of pandas: prompts.to_dict('records')), got a {kind}"
        )
    return [as_prompt(row) for row in rows]


def _names_a_place(text: str) -> bool:
    if text.strip("./") == "":  # folders everywhere, and marks
        return False
    suffix = Path(text).suffix
    return suffix in SUFFIXES or _PLACE.fullmatch(text) is not None or os.path.exists(text)


def _read(path: Path) -> list[Prompt]:
    """Reads one prompt a line; blank lines are skipped."""
    if path.suffix not in SUFFIXES:
        name = str(path)
        raise ValueError(
            f"prompts must be a path that ends in {' or '.join(SUFFIXES)}, got {quoted(name)}"
            f"{_loaded(name)}; if that is the prompt itself, give [{quoted(name)}]"
        )
    if path.suffix == ".csv":
        return _read_table(path)
    parse = Prompt if path.suffix == ".txt" else _from_json
    rows = []
    for number, encoded in enumerate(read_lines(path), start=1):
        try:
            line = encoded.decode()
            if line.strip():
                rows.append(parse(line))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"prompts file {path}, line {number}: {error}") from error
    return rows


def _loaded(name: str) -> str:
    """Says how a data set is given, if the name may be of one."""
    if name.startswith(_HUB):
        call = f"load_dataset({name.removeprefix(_HUB)!r}, split='train')"
    elif not Path(name).suffix:
        call = f"load_from_disk({name!r})"
    else:
        return ""
    return f"; a data set must be loaded first, by datasets.{call}"


def _read_table(path: Path) -> list[Prompt]:
    """Reads one prompt a row of comma-separated values."""
    rows = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for row in reader:
                if None in row:
                    raise ValueError(f"a row must have a cell for each of {reader.fieldnames}")
                rows.append(as_prompt({name: cell for name, cell in row.items() if cell}))
        except (ValueError, TypeError, csv.Error) as error:
            line = reader.line_num + isinstance(
                error, csv.Error
            )  # a line that fails is not counted
            raise ValueError(f"prompts file {path}, line {line}: {error}") from error
    return rows


def _from_json(line: str) -> Prompt:
    return as_prompt(parse_json(line))
