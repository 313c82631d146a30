"""What a word is, in any script, for the rewards and metrics that count or compare words.

A word is a maximal run of letters and digits, in which single apostrophes and hyphens may stand
between letters: "don't", "rock-n-roll". Chinese characters, Hiragana and Katakana are written
without spaces, so each of them is a word of its own. Korean is split at its spaces. Thai, Lao,
Khmer and Burmese put spaces between phrases, and a run between two spaces counts as one word:
this module knows no dictionary. Combining marks and joiners belong to the letter before them.
Punctuation, symbols and emoji (the keycaps such as 1️⃣ included) are no words; "3.14" is two.
"""

from __future__ import annotations

import functools
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
_HALF_WIDTH_SOUND_MARKS = "\uff9e\uff9f"
_ZERO_WIDTH_SPACE = "\u200b"
_KEYCAP = r"[0-9]\ufe0f?\u20e3"
_JOINERS = "'\u2019\u2010\u2011-"

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
    return (_ASCII_WORD if text.isascii() else _word_pattern()).findall(text)


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
        return len(split_words(text))
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


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    marks = f"[{_marks()}]*"
    letter = rf"(?![{_CJK}{_HALF_WIDTH_SOUND_MARKS}]|{_KEYCAP})[^\W_]{marks}"
    return re.compile(rf"[{_CJK}]{marks}|(?:{letter})+(?:[{_JOINERS}](?:{letter})+)*")


def _marks() -> str:
    """Returns what continues a letter: combining marks, and the invisible format characters.

    They lie in planes 0, 1 and 14; the last of these holds nothing else that is assigned.
    """
    in_planes_0_and_1 = (
        chr(code)
        for code in range(0x20000)
        if unicodedata.category(chr(code)) in ("Mn", "Mc", "Me", "Cf")
    )
    marks = "".join(in_planes_0_and_1).replace(_ZERO_WIDTH_SPACE, "") + _HALF_WIDTH_SOUND_MARKS
    return re.escape(marks) + r"\U000e0000-\U000e01ef"
