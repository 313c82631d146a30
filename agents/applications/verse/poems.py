"""Poems found in plays: verse as it stands, and what of it happens to keep a form.

There is no collection of haiku to learn from, but speech that begins and ends with a phrase has the
seventeen syllables of one now and then, with the ends of words where its lines must end; and
couplets are there as they are. Everything is in lower case, without punctuation. What a poem is
about is its longest word. This module knows no tokenizer and no model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, cycle, pairwise
from pathlib import Path
from typing import NamedTuple

from agents.fetching.items import SHAKESPEARE, require
from agents.fetching.shakespeare import SPEECHES_FILE
from text_gym.applications.verse.form import COUPLET, HAIKU, SLASH, Form, keeps
from text_gym.applications.verse.pronunciation import pronounced
from text_gym.applications.verse.subjects import Split, subjects

_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)*|[.,:;!?]|--")
_UNKNOWN = ""
_LONGEST_LINE = 12
"""Words; prose has longer lines."""


class Word(NamedTuple):
    """A word of a speech.

    Attributes:
        text: In lower case; empty if it is not in the vocabulary.
        ends_phrase: Whether a mark or the end of a line follows.
    """

    text: str
    ends_phrase: bool


class Poem(NamedTuple):
    """A text to learn.

    Attributes:
        form: What it is presented as; whether it keeps it is another matter.
        text: Its lines, between slashes.
    """

    form: Form
    text: str

    @property
    def subject(self) -> str:
        """Its longest word, the first of several."""
        return max(self.text.replace(SLASH, " ").split(), key=len)


def read_plays() -> list[list[str]]:
    """Returns the lines of each speech of the plays.

    Raises:
        FileNotFoundError: If they must be fetched first; names the command.
    """
    return read_speeches(require(SHAKESPEARE) / SPEECHES_FILE)


def read_speeches(path: Path) -> list[list[str]]:
    """Returns the lines of each speech of a file, in lower case."""
    text = path.read_text(encoding="utf-8").lower().replace("\u2019", "'")
    return [speech.splitlines() for speech in text.split("\n\n")]


def vocabulary_of(speeches: Sequence[Sequence[str]], size: int) -> list[str]:
    """Returns the most frequent words that the dictionary has, and all subjects, sorted."""
    counts = Counter(
        token for speech in speeches for line in speech for token in _TOKEN.findall(line)
    )
    known = (word for word, _ in counts.most_common() if pronounced(word) is not None)
    frequent = [word for word, _ in zip(known, range(size), strict=False)]
    return sorted({*frequent, *subjects("train"), *subjects("heldout")})


def verse_as_it_stands(
    speeches: Sequence[Sequence[str]], vocabulary: Collection[str]
) -> Iterator[Poem]:
    """Yields lines of speeches by threes and by twos in turn, whatever form they have."""
    for lines in _lines_in(speeches, vocabulary):
        rest = lines
        for form in cycle((HAIKU, COUPLET)):
            n_lines = len(form.syllables)
            if len(rest) < 2:
                break
            if len(rest) >= n_lines:
                yield Poem(form, f" {SLASH} ".join(rest[:n_lines]))
                rest = rest[n_lines:]


def poems_in_form(speeches: Sequence[Sequence[str]], vocabulary: Collection[str]) -> list[Poem]:
    """Returns everything in the speeches that keeps a form."""
    return [*haiku(speeches, vocabulary), *couplets(speeches, vocabulary)]


def haiku(speeches: Sequence[Sequence[str]], vocabulary: Collection[str]) -> list[Poem]:
    """Returns the distinct runs of words that are a haiku and begin and end with a phrase."""
    found = (
        poem
        for speech in speeches
        for start, words in _phrase_starts(_words(speech, vocabulary))
        if (poem := _haiku_at(words, start)) is not None
    )
    return [Poem(HAIKU, text) for text in dict.fromkeys(found)]


def couplets(speeches: Sequence[Sequence[str]], vocabulary: Collection[str]) -> list[Poem]:
    """Returns the distinct pairs of consecutive lines that are a couplet."""
    found = (
        f"{first} {SLASH} {second}"
        for lines in _lines_in(speeches, vocabulary)
        for first, second in pairwise(lines)
        if _sound(first) == _sound(second)
    )
    return [Poem(COUPLET, text) for text in dict.fromkeys(found) if keeps(text, COUPLET)]


def split_of_poem(poem: Poem) -> Split:
    """Assigns a poem to a split: one about a subject that is held out is held out."""
    return "heldout" if poem.subject in subjects("heldout") else "train"


def _sound(line: str) -> str | None:
    how = pronounced(line.split()[-1])
    return None if how is None else how.rhyme


def _words(speech: Sequence[str], vocabulary: Collection[str]) -> list[Word]:
    words: list[Word] = []
    for line in speech:
        for token in _TOKEN.findall(line):
            if token[0].isalpha():
                words.append(Word(token if token in vocabulary else _UNKNOWN, False))
            elif words:
                words[-1] = words[-1]._replace(ends_phrase=True)
        if words:
            words[-1] = words[-1]._replace(ends_phrase=True)
    return words


def _phrase_starts(words: Sequence[Word]) -> Iterator[tuple[int, Sequence[Word]]]:
    for place in range(len(words)):
        if place == 0 or words[place - 1].ends_phrase:
            yield place, words


def _haiku_at(words: Sequence[Word], start: int) -> str | None:
    """Returns the haiku that begins with a word, if there is one."""
    ends = list(accumulate(HAIKU.syllables))
    lines: list[list[str]] = [[]]
    total = 0
    for word in words[start:]:
        how = pronounced(word.text)
        if how is None:
            return None
        lines[-1].append(word.text)
        total += how.syllables
        if total > ends[len(lines) - 1]:
            return None
        if total == ends[-1]:
            return f" {SLASH} ".join(map(" ".join, lines)) if word.ends_phrase else None
        if total == ends[len(lines) - 1]:
            lines.append([])
    return None


def _lines_in(
    speeches: Sequence[Sequence[str]], vocabulary: Collection[str]
) -> Iterator[list[str]]:
    """Yields runs of consecutive lines that consist of known words."""
    for speech in speeches:
        run: list[str] = []
        for line in speech:
            words = [token for token in _TOKEN.findall(line) if token[0].isalpha()]
            if words and len(words) <= _LONGEST_LINE and all(word in vocabulary for word in words):
                run.append(" ".join(words))
                continue
            yield run
            run = []
        yield run
