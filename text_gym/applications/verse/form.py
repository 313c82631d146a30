"""What a form of verse asks of a poem, and how far a poem keeps it.

A line ends at a line break, or at a slash as poems are quoted in running text. A line with a word
that the dictionary does not have cannot be checked, and keeps nothing. What a poem says does not
matter here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from text_gym.applications.verse.pronunciation import Pronunciation, pronounced
from text_gym.words import fold, split_words

SLASH = "/"


@dataclass(frozen=True)
class Form:
    """How many lines a poem has, and how they sound.

    Attributes:
        name: What poets call it.
        syllables: Of each line.
        rhymed: Whether the last words of all lines rhyme; none rhymes with itself.
    """

    name: str
    syllables: tuple[int, ...]
    rhymed: bool = False

    @property
    def most_tokens(self) -> int:
        """Most tokens of a poem that keeps it: words of a syllable, slashes, and end of text."""
        return sum(self.syllables) + len(self.syllables)


HAIKU = Form("haiku", (5, 7, 5))
COUPLET = Form("couplet", (10, 10), rhymed=True)
FORMS = {form.name: form for form in (HAIKU, COUPLET)}


def lines_of(poem: str) -> list[str]:
    r"""Returns the lines of a poem.

    Example:
        >>> lines_of("the moon is full / and I am not\nyet home")
        ['the moon is full', 'and I am not', 'yet home']
    """
    return [line.strip() for line in re.split(r"[/\n]", poem.strip())]


def said(line: str) -> list[Pronunciation] | None:
    """Returns how the words of a line are said; None if it has none, or one that is not known."""
    words = [word for part in split_words(fold(line)) for word in _in_dictionary_spelling(part)]
    known = [how for how in map(pronounced, words) if how is not None]
    return known if words and len(known) == len(words) else None


def shares(poem: str, form: Form) -> list[float]:
    """Returns how far each part of the form is kept: its lines, and the rhyme if there is one.

    A line of the right number of syllables counts 1, a line of another number up to a half, the
    more the nearer it is, and one that cannot be checked 0. So does every line too many or missing.

    Example:
        >>> shares("the old silent pond / a frog leaps / the sound of water", HAIKU)
        [1.0, 0.2142857142857143, 1.0]
    """
    lines = lines_of(poem)
    sounds = [said(line) for line in lines]
    wanted = form.syllables
    extent = max(len(lines), len(wanted))
    found = [
        _line_share(sounds[i], wanted[i]) if i < min(len(lines), len(wanted)) else 0.0
        for i in range(extent)
    ]
    return [*found, float(_rhymes(lines, sounds))] if form.rhymed else found


def keeps(poem: str, form: Form) -> bool:
    """Tells whether a poem keeps all of the form.

    Example:
        >>> keeps("I walked all day to find a quiet place / and saw the evening sun upon your face",
        ...       COUPLET)
        True
    """
    return all(share == 1 for share in shares(poem, form))


def _in_dictionary_spelling(word: str) -> list[str]:
    """Returns the parts of a word: the dictionary has straight apostrophes and no hyphens."""
    return re.split(r"[-\u2010\u2011]", word.replace("\u2019", "'"))


def _line_share(sounds: Sequence[Pronunciation] | None, wanted: int) -> float:
    if sounds is None:
        return 0.0
    syllables = sum(one.syllables for one in sounds)
    return 1.0 if syllables == wanted else 0.5 * max(0.0, 1 - abs(syllables - wanted) / wanted)


def _rhymes(lines: Sequence[str], sounds: Sequence[Sequence[Pronunciation] | None]) -> bool:
    last = [one[-1].rhyme for one in sounds if one]
    words = {fold(split_words(line)[-1]) for line in lines if split_words(line)}
    return len(lines) > 1 and len(words) == len(last) == len(lines) and len(set(last)) == 1
