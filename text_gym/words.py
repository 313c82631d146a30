"""What a word is, in any script, for the rewards and metrics that count or compare words.

A word is a maximal run of letters and digits, in which single apostrophes and hyphens may stand
between letters: "don't", "rock-n-roll". Chinese characters, Hiragana and Katakana are written
without spaces, so each of them is a word of its own. Korean is split at its spaces. Thai, Lao,
Khmer and Burmese put spaces between phrases, and a run between two spaces counts as one word:
this module knows no dictionary. Combining marks and joiners belong to the letter before them.
Punctuation, symbols and emoji (the keycaps such as 1️⃣ included) are no words; "3.14" is two.
"""

from __future__ import annotations

import re
import unicodedata

# Han with its iteration and number signs and all extensions (planes 2 and 3 hold nothing else),
# Hiragana, Katakana with its half-width forms; without the punctuation between them.
_CJK = (
    r"\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003fffd"
    r"\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d"
    r"\U0001aff0-\U0001b16f"
)
_IS_CJK = re.compile(f"[{_CJK}]")
_HALF_WIDTH_SOUND_MARKS = "\uff9e\uff9f"
_ZERO_WIDTH_SPACE = "\u200b"
_VARIATION_SELECTORS = range(0xE0000, 0xE01F0)  # with tags; some are not assigned yet
_ENCLOSING_KEYCAP = "\u20e3"
_KEYCAP = re.compile(rf"[0-9]\ufe0f?{_ENCLOSING_KEYCAP}")
_JOINERS = "'\u2019\u2010\u2011-"
_WORD_OF_KINDS = re.compile("cm*|a[am]*(?:-a[am]*)*")
"""A character that is a word, or letters with their marks; see `_kind`."""

# In plain ASCII the same words are found forty times as fast without the classes of Unicode.
_ASCII_WORD = re.compile(r"[A-Za-z0-9]+(?:['-][A-Za-z0-9]+)*")
_LETTER, _JOINER, _OTHER = b"a- "
_ASCII_KINDS = bytes(
    _LETTER if chr(code).isalnum() else _JOINER if chr(code) in "'-" else _OTHER
    for code in range(128)
).ljust(256)


def split_words(text: str) -> list[str]:
    """Returns the words of a text in order.

    Example:
        >>> split_words("Don't panic: 3 猫 🙂")
        ["Don't", 'panic', '3', '猫']
    """
    if text.isascii():
        return _ASCII_WORD.findall(text)
    found = _WORD_OF_KINDS.finditer(_kinds(text))
    return [text[word.start() : word.end()] for word in found]


def count_words(text: str) -> int:
    """Counts the words of a text in any script.

    A word is a maximal run of letters and digits with inner apostrophes or hyphens; each Chinese
    character, Hiragana and Katakana is one; Korean is split at spaces, and so is Thai, where that
    counts phrases. Punctuation and emoji count nothing.

    Example:
        >>> count_words("Don't panic, it's half-past 3!")
        5
        >>> count_words("私はネコです。"), count_words("안녕하세요 세계"), count_words("🙂 ...")
        (6, 2, 0)
    """
    if not text.isascii():
        return len(_WORD_OF_KINDS.findall(_kinds(text)))
    kinds = text.encode().translate(_ASCII_KINDS)
    if b"-" in kinds:  # twice, as what is replaced does not overlap: of a-a-a, each time one
        kinds = kinds.replace(b"a-a", b"aaa").replace(b"a-a", b"aaa").replace(b"-", b" ")
    return (b" " + kinds).count(b" a")


def fold(text: str) -> str:
    r"""Removes differences of case and of Unicode composition (casefold, then NFC).

    Example:
        >>> fold("CAFE\u0301") == fold("café")
        True
    """
    return unicodedata.normalize("NFC", text.casefold())


class _Kinds(dict[int, str]):
    """Keeps the kind of every character that was met, by its code point."""

    def __missing__(self, code: int) -> str:
        kind = self[code] = _kind(chr(code))
        return kind


_KINDS = _Kinds()


def _kinds(text: str) -> str:
    """Returns the kind of each character of a text."""
    if _ENCLOSING_KEYCAP in text:
        text = _KEYCAP.sub(lambda keycap: " " * len(keycap[0]), text)
    return text.translate(_KINDS)


def _kind(character: str) -> str:
    """Returns "c" for a character that is a word, "a" for a letter or digit, "m" for a mark.

    "-" stands for what may join letters, " " for all else. A mark continues a letter: combining
    marks and the invisible format characters do.
    """
    if _IS_CJK.match(character):
        return "c"
    if _is_mark(character):
        return "m"
    if character in _JOINERS:
        return "-"
    return "a" if character.isalnum() else " "


def _is_mark(character: str) -> bool:
    if character in _HALF_WIDTH_SOUND_MARKS or ord(character) in _VARIATION_SELECTORS:
        return True
    is_continuing = unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf")
    return is_continuing and character != _ZERO_WIDTH_SPACE
