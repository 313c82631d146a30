"""Checking the strings that constraints on the wording are made of."""

from __future__ import annotations

from collections.abc import Iterable


def checked_texts(texts: Iterable[str], argument: str, *, empty: bool) -> tuple[str, ...]:
    """Returns `texts` as a tuple.

    Args:
        texts: At least one string.
        argument: Its name, for messages.
        empty: Whether the empty string may be among them.

    Raises:
        TypeError: If `texts` is a single string.
        ValueError: If there is none, or one is empty or not to be spelt in UTF-8.
    """
    if isinstance(texts, str):
        raise TypeError(f"{argument} must be a list of strings, got {texts!r}")
    listed = tuple(texts)
    if not listed:
        raise ValueError(f"{argument} must name at least one string, got none")
    for text in listed:
        checked_text(text, argument, empty=empty)
    return listed


def checked_text(text: str, argument: str, *, empty: bool = False) -> str:
    """Returns `text`; raises ValueError if it is empty or not to be spelt in UTF-8."""
    if not text and not empty:
        raise ValueError(f"{argument} must not be empty, got {text!r}")
    # A decoder writes U+FFFD for bytes that are no text, so that it stands for many spellings.
    if "\N{REPLACEMENT CHARACTER}" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError(f"{argument} must be text without U+FFFD and surrogates, got {text!r}")
    return text
