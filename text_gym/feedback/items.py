"""What is judged: a prompt or a conversation, its completions, and where they come from.

Knows nothing of who judges, of pages or of the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from text_gym.feedback.answers import Answer, Mode, answer_from_json, answer_to_json
from text_gym.feedback.fields import choice_of, field_of, require_object
from text_gym.lines import parse_json, read_lines
from text_gym.quoting import quoted

Purpose = Literal["work", "gold", "tutorial", "exam"]
PURPOSES: tuple[Purpose, ...] = ("work", "gold", "tutorial", "exam")
"""What an item is for: to learn what people think; or to check, to teach, to admit those people."""

AUDIENCES = ("everyone", "experts")
MOST_RANKED = 5
_LONGEST_ID = 200


@dataclass(frozen=True)
class Turn:
    """Holds what one speaker of a conversation said."""

    role: str
    """As in chat templates: "user", "assistant", "system"."""
    text: str


@dataclass(frozen=True)
class Completion:
    """Holds one text that is judged."""

    text: str
    source: str = ""
    """Who wrote it: a model's name. No annotator sees it."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """How it was written: hashes, sampling settings, seed, log-probs. No annotator sees it."""


@dataclass(frozen=True)
class Item:
    """Holds what a person sees at once."""

    id: str
    prompt: str | tuple[Turn, ...]
    """A text that the completions continue, or a conversation that they answer."""
    completions: tuple[Completion, ...]
    purpose: Purpose = "work"
    expected: Answer | None = None
    """The right answer; every item has one that is not for work."""
    explanation: str = ""
    """Why, for those who learn."""
    audience: str = "everyone"
    """Or "experts": annotators of that role alone see it."""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks what holds in every study.

        Raises:
            ValueError: If the id is empty or long, there are no completions, or the right answer
                is missing.
        """
        if not 0 < len(self.id) <= _LONGEST_ID:
            raise ValueError(
                f"the id of an item must have 1 to {_LONGEST_ID} characters, got {quoted(self.id)}"
            )
        if not self.completions:
            raise ValueError(f"item {quoted(self.id)} must have completions, got none")
        if (self.expected is None) != (self.purpose == "work"):
            raise ValueError(
                f"item {quoted(self.id)}: expected must be given for purposes gold, tutorial and "
                f"exam, and for them alone; the purpose is {self.purpose}, and expected is "
                f"{'missing' if self.expected is None else 'given'}"
            )


_FIELDS = (
    "id", "prompt", "completions", "purpose", "expected", "explanation", "audience", "metadata",
)  # fmt: skip


def item_from_json(value: Any) -> Item:
    """Returns the item that a JSON object spells.

    A completion is a text, or an object with `text`, `source` and `provenance`; a prompt is a text,
    or a list of objects with `role` and `content`. Without an `id`, the item is named by what is in
    it.

    Raises:
        ValueError: If a field is unknown, missing, or not what it must be.

    Example:
        >>> item_from_json({"id": "1", "prompt": "2 + 2 =", "completions": [" 4", " 5"]}).prompt
        '2 + 2 ='
    """
    row = require_object(value, _FIELDS, "an item")
    completions = field_of(row, "completions", list, [], "an item")
    item = Item(
        id=field_of(row, "id", str, "unnamed", "an item"),
        prompt=_prompt(row.get("prompt")),
        completions=tuple(map(_completion, completions)),
        purpose=choice_of(row, "purpose", PURPOSES, "work", "an item"),  # type: ignore[arg-type]
        expected=answer_from_json(row["expected"]) if row.get("expected") is not None else None,
        explanation=field_of(row, "explanation", str, "", "an item"),
        audience=choice_of(row, "audience", AUDIENCES, "everyone", "an item"),
        metadata=field_of(row, "metadata", dict, {}, "an item"),
    )
    return item if "id" in row else replace(item, id=content_hash(item))


def item_to_json(item: Item) -> dict[str, Any]:
    """Returns an item as a JSON object without what says nothing; see `item_from_json`."""
    row: dict[str, Any] = {"id": item.id, "prompt": item.prompt}
    if not isinstance(item.prompt, str):
        row["prompt"] = [{"role": turn.role, "content": turn.text} for turn in item.prompt]
    row["completions"] = [_completion_to_json(one) for one in item.completions]
    row["purpose"] = item.purpose
    row["expected"] = None if item.expected is None else answer_to_json(item.expected)
    row["explanation"] = item.explanation
    row["audience"] = item.audience
    row["metadata"] = dict(item.metadata)
    silent = {"purpose": "work", "expected": None, "explanation": "", "audience": "everyone"}
    return {k: v for k, v in row.items() if v != silent.get(k, {})}


def content_hash(item: Item) -> str:
    """Returns the name of what a person sees of an item: 16 hexadecimal digits."""
    row = item_to_json(replace(item, id="-", metadata={}))
    row["completions"] = [one.text for one in item.completions]
    spelt = json.dumps(row, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(spelt.encode()).hexdigest()[:16]


def read_items(path: Path) -> list[Item]:
    """Reads a file of one item a line (JSON).

    Raises:
        ValueError: If a line is no item; names the line and what is wrong.
    """
    return list(_numbered(path))


def fitted(items: Iterable[Item], mode: Mode) -> list[Item]:
    """Returns the items as one judgement of a mode sees them.

    Compared are two completions, so an item of more becomes one item for each pair; rated or
    corrected is one, so it becomes one for each; up to five are ranked at once. The parts are named
    after the whole: `id/0-2`, `id/1`.

    Raises:
        ValueError: If an item has too few or too many completions, or one with a known answer would
            have to be taken apart.

    Example:
        >>> item = item_from_json({"id": "a", "prompt": "Hi", "completions": ["x", "y", "z"]})
        >>> [one.id for one in fitted([item], "compare")]
        ['a/0-1', 'a/0-2', 'a/1-2']
    """
    return [part for item in items for part in _parts(item, mode)]


def _parts(item: Item, mode: Mode) -> Iterator[Item]:
    count, least, most = len(item.completions), *_SHOWN[mode]
    if least <= count <= most:
        yield item
        return
    if count < least or mode == "rank" or item.expected is not None:
        bounds = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(f"item {quoted(item.id)} must have {bounds} completions, got {count}")
    for chosen in combinations(range(count), most):
        name = "-".join(map(str, chosen))
        parts = tuple(item.completions[one] for one in chosen)
        yield replace(item, id=f"{item.id}/{name}", completions=parts)


_SHOWN: dict[Mode, tuple[int, int]] = {
    "compare": (2, 2),
    "rank": (2, MOST_RANKED),
    "rate": (1, 1),
    "correct": (1, 1),
}
"""Fewest and most completions that are shown at once."""


def _numbered(path: Path) -> Iterator[Item]:
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            yield item_from_json(parse_json(line.decode()))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error


def _prompt(value: Any) -> str | tuple[Turn, ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        return tuple(map(_turn, value))
    raise ValueError(
        "the prompt of an item must be a text or a list of turns with role and content, "
        f"got {quoted(value)}"
    )


def _turn(value: Any) -> Turn:
    row = require_object(value, ("role", "content"), "a turn")
    if not row.get("role") or "content" not in row:
        raise ValueError(f"a turn must have a role and a content, got {quoted(value)}")
    return Turn(
        field_of(row, "role", str, "", "a turn"), field_of(row, "content", str, "", "a turn")
    )


def _completion(value: Any) -> Completion:
    if isinstance(value, str):
        return Completion(value)
    row = require_object(value, ("text", "source", "provenance"), "a completion")
    if "text" not in row:
        raise ValueError(f"a completion must have a text, got {quoted(value)}")
    return Completion(
        field_of(row, "text", str, "", "a completion"),
        field_of(row, "source", str, "", "a completion"),
        field_of(row, "provenance", dict, {}, "a completion"),
    )


def _completion_to_json(one: Completion) -> str | dict[str, Any]:
    if not one.source and not one.provenance:
        return one.text
    return {"text": one.text, "source": one.source, "provenance": dict(one.provenance)}
