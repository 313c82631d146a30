"""A study: a folder with its settings, its texts and its store.

    study.json       settings; see `StudyConfig`
    guidelines.txt   what annotators read before they begin, and beside every item
    consent.txt      what they agree to
    feedback.sqlite  items, annotators, judgements; see `text_gym.feedback.store`

The three texts may be edited at any time: whoever opens the study next enters the new version in
the store, beside the earlier ones. Knows nothing of pages.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from text_gym.feedback.config import StudyConfig, config_from_json, config_to_json
from text_gym.feedback.items import Item, fitted
from text_gym.feedback.store import Store
from text_gym.feedback.texts import CONSENT, GUIDELINES
from text_gym.lines import parse_json
from text_gym.quoting import quoted

SETTINGS, STORE = "study.json", "feedback.sqlite"
TEXTS = {"guidelines": "guidelines.txt", "consent": "consent.txt"}


@dataclass(frozen=True)
class Study:
    """Holds what is known of a study without its store."""

    folder: Path
    config: StudyConfig

    def open(self) -> Store:
        """Opens the store, and enters what was edited since; the caller closes it."""
        store = Store(self.folder / STORE)
        try:
            for kind, name in (("settings", SETTINGS), *TEXTS.items()):
                store.documents.enter(kind, _read(self.folder / name))
        except BaseException:
            store.close()
            raise
        return store


def create_study(
    folder: Path,
    config: StudyConfig,
    items: Iterable[Item],
    guidelines: str = "",
    consent: str = "",
) -> Study:
    """Makes a study's folder.

    Args:
        folder: Must not exist yet, or be empty.
        config: The settings.
        items: What is judged; taken apart as the mode needs it, see `fitted`.
        guidelines: What annotators read; empty: a text that suits the mode.
        consent: What they agree to; empty: a text to be completed.

    Raises:
        FileExistsError: If there is something in the folder.
        ValueError: If an item does not suit the mode.
    """
    parts = fitted(items, config.mode)
    if os.path.lexists(folder) and (not folder.is_dir() or os.listdir(folder)):
        raise FileExistsError(f"the folder of a study must be new, got {quoted(str(folder))}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the store holds a secret
    study = Study(folder, config)
    _write(folder / TEXTS["guidelines"], guidelines or GUIDELINES[config.mode])
    _write(folder / TEXTS["consent"], consent or CONSENT)
    _write(folder / SETTINGS, json.dumps(config_to_json(config), indent=2, ensure_ascii=False))
    with study.open() as store:
        store.items.add(parts)
    return study


def open_study(folder: Path) -> Study:
    """Reads the settings of a study.

    Raises:
        FileNotFoundError: If there is no study in the folder.
        ValueError: If its settings are not what they must be.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise FileNotFoundError(f"there is no study in {quoted(str(folder))}: it has no {SETTINGS}")
    try:
        return Study(folder, config_from_json(parse_json(_read(path))))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig")


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
