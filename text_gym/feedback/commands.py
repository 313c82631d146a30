"""What the command line does to a study, command by command. Knows no spelling of arguments.

Every function returns what is printed. All but `create` may run beside the server.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from text_gym.feedback.access import Access
from text_gym.feedback.annotators import Annotator, Role
from text_gym.feedback.collected import Collected
from text_gym.feedback.collecting import collect, enter
from text_gym.feedback.config import StudyConfig
from text_gym.feedback.formats import (
    anthropic_hh,
    argilla,
    export,
    items_of_preferences,
    label_studio,
    plain,
    trl_preference,
)
from text_gym.feedback.items import Item, fitted, read_items
from text_gym.feedback.owner import served_at
from text_gym.feedback.preferences import Preference
from text_gym.feedback.store import Store
from text_gym.feedback.study import create_study, open_study
from text_gym.lines import parse_json, read_lines
from text_gym.quoting import quoted

DEFAULT_ADDRESS = "http://127.0.0.1:8000"

COLLECTED: Mapping[str, Callable[[Path], Collected]] = {
    "plain": plain.read,
    "label-studio": label_studio.read,
    "argilla": argilla.read,
}
PREFERENCES: Mapping[str, Callable[[Path], list[Preference]]] = {
    "trl-preference": trl_preference.read,
    "hh": anthropic_hh.read,
}
IMPORTS = ("items", *PREFERENCES, *COLLECTED)
"""Formats that are read: items alone, pairs to be judged anew, or judgements as well."""


def create(
    folder: Path,
    config: StudyConfig,
    items: Path,
    format_name: str = "items",
    guidelines: Path | None = None,
    consent: Path | None = None,
) -> str:
    """Makes a study of a file."""
    texts = [path and path.read_text(encoding="utf-8-sig") for path in (guidelines, consent)]
    study = create_study(folder, config, _items(items, format_name), texts[0] or "", texts[1] or "")
    with study.open() as store:
        count = len(store.items.all())
    return (
        f"{folder} has {count:,} items. Complete its guidelines.txt and consent.txt, then: "
        f"text-gym-feedback serve {folder}"
    )


def add(folder: Path, path: Path, format_name: str = "items") -> str:
    """Adds items to a study, or what was judged elsewhere."""
    study = open_study(folder)
    with study.open() as store:
        if format_name in COLLECTED:
            items, judgements = enter(store, COLLECTED[format_name](path))
            return f"{items:,} new items, {judgements:,} new judgements."
        items = store.items.add(fitted(_items(path, format_name), study.config.mode))
        return f"{items:,} new items."


def link(folder: Path, pseudonym: str, role: Role, weight: float, days: float) -> str:
    """Makes a secret link for an annotator, who is added if not known; earlier links end."""
    with open_study(folder).open() as store:
        known = store.annotators.named(pseudonym)
        annotator = known or store.annotators.add(pseudonym, role, weight)
        if (annotator.role, annotator.weight) != (role, weight):
            raise ValueError(
                f"role and weight of {quoted(pseudonym)} must stay {annotator.role} and "
                f"{annotator.weight:g}, got {role} and {weight:g}"
            )
        token = Access(store).invite(annotator, days)
    return f"{served_at(folder) or DEFAULT_ADDRESS}/link/{token}"


def forget(folder: Path, pseudonym: str) -> str:
    """Deletes whatever is kept of an annotator."""
    with open_study(folder).open() as store:
        store.forget(_named(store, pseudonym).id)
    return f"{pseudonym} is forgotten; counts remain."


def prioritise(folder: Path, scores: Path) -> str:
    """Says which items come first: a file of `id` and `score`, one item a line (JSON)."""
    with open_study(folder).open() as store:
        read = dict(_scores(scores))
        store.items.score(read)
    return f"{len(read):,} items have a score; the highest come first."


def write_export(folder: Path, format_name: str, write: Callable[[str], object]) -> None:
    """Writes what was collected in a format, piece by piece."""
    study = open_study(folder)
    with study.open() as store:
        collected = collect(study, store, everything=format_name == "plain")
    for part in export(format_name, collected):
        write(part)


def _items(path: Path, format_name: str) -> list[Item]:
    if format_name == "items":
        return read_items(path)
    if format_name in PREFERENCES:
        return items_of_preferences(PREFERENCES[format_name](path))
    return list(COLLECTED[format_name](path).items)


def _scores(path: Path) -> Iterator[tuple[str, float]]:
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        match parse_json(line.decode()):
            case {"id": str(item), "score": int() | float() as score} if math.isfinite(score):
                yield item, float(score)
            case other:
                raise ValueError(
                    f"{path}, line {number}: a line must have id, a text, and score, a finite "
                    f"number, got {quoted(other)}"
                )


def _named(store: Store, pseudonym: str) -> Annotator:
    annotator = store.annotators.named(pseudonym)
    if annotator is None:
        raise ValueError(f"pseudonym must be that of an annotator, got {quoted(pseudonym)}")
    return annotator
