"""Conversations as token sequences for a model to learn from: windows of whole turns.

This module knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agents.applications.conversation.turn_form import encode_turn
from agents.supervised.sequences import TokenSequence
from text_gym import HuggingFaceTokenizer


def windows(
    turns: Sequence[str], tokenizer: HuggingFaceTokenizer, max_length: int
) -> Iterator[TokenSequence]:
    """Cuts a conversation into windows, each as long as fits; of no turn is there a part.

    What a window has of a single turn is left out.

    Args:
        turns: Of two people in turns.
        tokenizer: Of the model.
        max_length: Most tokens of a window.

    Yields:
        Windows of at least two turns; the first turn of each is its prompt.
    """
    window: list[list[int]] = []
    for text in turns:
        turn = encode_turn(text, len(window), tokenizer)
        if sum(map(len, window)) + len(turn) > max_length:
            yield from _sequence(window)
            window, turn = [], encode_turn(text, 0, tokenizer)
        window.append(turn)
    yield from _sequence(window)


def _sequence(window: Sequence[Sequence[int]]) -> Iterator[TokenSequence]:
    if len(window) > 1:
        yield TokenSequence([token for turn in window for token in turn], len(window[0]))
