"""Masks that keep the form of verse: `KeepForm`.

For vocabularies of whole words. It does not know what a poem says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from text_gym.applications.verse.form import HAIKU, SLASH, Form
from text_gym.applications.verse.pronunciation import Pronunciation, pronounced
from text_gym.constraints.constraint import HistoryConstraint, Mask, Vocabulary
from text_gym.episode import TokenIds

NONE = -1
"""Stands for no token, and for no sound."""


@dataclass(frozen=True)
class KeepForm(HistoryConstraint):
    """Allows only poems that keep a form: words that the dictionary has, and slashes.

    A word is allowed if the line can be finished after it, and the rhyme still be found. Every
    token must be a whole word, as in a `WordTokenizer`; others are never allowed.

    Args:
        form: What the poem must be.

    Example:
        >>> KeepForm().form.syllables
        (5, 7, 5)
    """

    form: Form = HAIKU

    def rule(self, vocabulary: Vocabulary) -> FormRule:
        """Returns the rule that follows poems of this vocabulary.

        Raises:
            ValueError: If the vocabulary has no slash, or nothing to begin with, or if the longest
                poem has no room.
        """
        return FormRule(self.form, vocabulary)


class Place(NamedTuple):
    """Where a poem stands.

    Attributes:
        line: Lines that are finished.
        left: Syllables that this one still needs.
        last: The token before.
        rhyme: The token that the line must rhyme with, or `NONE`.
    """

    line: int
    left: int
    last: int
    rhyme: int


class FormRule:
    """Follows poems word by word. A poem that took a forbidden token has no more to keep."""

    def __init__(self, form: Form, vocabulary: Vocabulary) -> None:
        most = vocabulary.max_tokens
        if most is not None and most < form.most_tokens:
            raise ValueError(
                f"max_new_tokens must be at least {form.most_tokens} for a {form.name}, got {most}"
            )
        self._form = form
        self._eos = vocabulary.eos
        texts = [vocabulary.tokenizer.decode([token]).strip() for token in range(vocabulary.size)]
        if SLASH not in texts:
            raise ValueError(f"the vocabulary must have the token {SLASH!r}, got none")
        self._slash = texts.index(SLASH)
        usable = vocabulary.usable.tolist()
        said = [pronounced(text) if usable[token] else None for token, text in enumerate(texts)]
        self._syllables = np.array([one.syllables if one else 0 for one in said])
        self._sounds = _numbered(said)
        self._fills = _sums(self._syllables, max(form.syllables))
        self._any_word = self._syllables > 0
        self._openings = self._with_rhyme() if form.rhymed else self._any_word
        if not self._allowed_words(form.syllables[0], self._openings).any():
            raise ValueError(f"the vocabulary must have the words of a {form.name}, got too few")

    def start(self, prompt_ids: TokenIds) -> Place | None:
        """Returns the place before the first word."""
        return Place(0, self._form.syllables[0], NONE, NONE)

    def advance(self, state: Place | None, token: int) -> Place | None:
        """Returns the place after a token; None if it was a forbidden one."""
        if state is None or not self.allowed(self.key(state))[token]:
            return None
        line, left, last, rhyme = state
        if token == self._slash:
            rhyme = last if self._form.rhymed and line == 0 else rhyme
            return Place(line + 1, self._form.syllables[line + 1], token, rhyme)
        return Place(line, left - int(self._syllables[token]), token, rhyme)

    def key(self, state: Place | None) -> Hashable:
        """Returns the place, without the token before."""
        return None if state is None else state._replace(last=NONE)

    def allowed(self, key: Any) -> Mask:
        """Returns the tokens after which the poem can still be finished, (V,)."""
        if key is None:
            return np.ones(len(self._syllables), dtype=np.bool_)
        if key.left == 0:
            mask = np.zeros(len(self._syllables), dtype=np.bool_)
            is_last = key.line + 1 == len(self._form.syllables)
            mask[self._eos if is_last else self._slash] = True
            return mask
        return self._allowed_words(key.left, self._endings(key))

    def _endings(self, place: Place) -> Mask:
        """Returns the words that the line may end with, (V,)."""
        if place.rhyme == NONE:
            return self._openings if place.line == 0 else self._any_word
        endings: Mask = self._sounds == self._sounds[place.rhyme]
        endings[place.rhyme] = False
        return endings

    def _allowed_words(self, left: int, endings: Mask) -> Mask:
        """Returns the words after which a line of `left` more syllables can end as it must."""
        after = left - self._syllables
        finishes = np.zeros(left + 1, dtype=np.bool_)  # by syllables left, at least one
        for syllables in np.unique(self._syllables[endings & self._any_word]):
            if syllables <= left:
                finishes[syllables:] |= self._fills[: left + 1 - syllables]
        goes_on = np.zeros_like(endings)
        within = self._any_word & (after > 0)
        goes_on[within] = finishes[after[within]]
        allowed: Mask = goes_on | (endings & (after == 0))
        return allowed

    def _with_rhyme(self) -> Mask:
        """Returns the words with which another word can rhyme at the end of the last line, (V,)."""
        last = self._form.syllables[-1]
        words = np.flatnonzero(self._any_word & (self._syllables <= last))
        ends = [token for token in words if self._fills[last - self._syllables[token]]]
        rhymes = Counter(self._sounds[ends].tolist())
        others = [rhymes[sound] for sound in self._sounds.tolist()]
        mask: Mask = self._any_word & (np.array(others) - np.isin(np.arange(len(others)), ends) > 0)
        return mask


def _numbered(said: list[Pronunciation | None]) -> NDArray[np.int64]:
    """Returns a number for each token, the same for words that rhyme; `NONE` for no word."""
    numbers: dict[str, int] = {}
    return np.array(
        [NONE if one is None else numbers.setdefault(one.rhyme, len(numbers)) for one in said]
    )


def _sums(syllables: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Returns which numbers of syllables, from 0 to `most`, some words have together."""
    sums = np.zeros(most + 1, dtype=np.bool_)
    sums[0] = True
    sizes = np.unique(syllables[syllables > 0])
    for total in range(1, most + 1):
        sums[total] = any(size <= total and sums[total - size] for size in sizes)
    return sums
