"""The built-in dialogue task: prompts, human pairs of turns, a template and a toy vocabulary.

`PROMPTS` and `WORDS` need nothing. `chitchat_pairs` reads the human conversations of the
`chitchat-dataset` package (MIT), which is an optional dependency and is never imported: only its
data file is opened, and checked. This module knows no tokenizer, no model and no environment.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

Split: TypeAlias = Literal["train", "validation", "rl", "heldout"]

TEMPLATE = "{prompt}\n"
"""Context of a reply: the prompt and a newline. The reply follows directly, then end-of-text."""

MAX_TURN_CHARACTERS = 120
"""Longest turn kept, about 33 tokens of a 2,048-token vocabulary; three turns in four are shorter.
"""

WORDS: tuple[str, ...] = (
    *("i", "you", "we", "it", "am", "are", "is", "was", "a", "the", "my", "your"),
    *("how", "what", "and", "not", "very", "so", "hello", "yes", "no", "thanks"),
    *("fine", "good", "great", "happy", "love", "tired", "sad", "day", "today"),
)
"""A toy vocabulary of 31 words: with a question mark and end-of-text, V = 33."""

PROMPTS: tuple[str, ...] = (
    "How are you?",
    "Hi there!",
    "Hello, how is your day going?",
    "Good morning! Did you sleep well?",
    "What's up?",
    "What are you doing today?",
    "How was your weekend?",
    "Do you have any plans for tonight?",
    "What do you do for fun?",
    "Where are you from?",
    "What do you think about the weather?",
    "It is so cold today.",
    "I love sunny days.",
    "Did you see any good movies lately?",
    "What kind of music do you like?",
    "Do you play an instrument?",
    "What is your favorite food?",
    "I just had the best pizza.",
    "Can you cook?",
    "Do you prefer coffee or tea?",
    "Do you have any pets?",
    "My dog is so cute.",
    "Are you a cat person or a dog person?",
    "Do you have any brothers or sisters?",
    "What is your favorite color?",
    "What is your favorite season?",
    "Do you like to read?",
    "What was the last book you read?",
    "Do you like sports?",
    "I went running this morning.",
    "Do you like to travel?",
    "If you could go anywhere, where would you go?",
    "What are you studying?",
    "How is work going?",
    "I have a test tomorrow.",
    "I am so tired today.",
    "I had a really bad day.",
    "I am so happy right now!",
    "I got a new job!",
    "Today is my birthday!",
    "What makes you happy?",
    "Tell me something interesting.",
    "Tell me a joke.",
    "What is your dream job?",
    "Do you believe in aliens?",
    "What superpower would you like to have?",
    "It was nice talking to you.",
    "Thank you so much for your help!",
)
"""Openings of a conversation, written for this project."""

RATING_SCALES = ("witty", "upbeat", "interesting")
"""What people rated their conversations for, from 1 to 10."""

DATASET_SHA256 = "d2a5d0bf6acf354fef51f3af39cbece2220d3b8f6086b658c3d335105798312a"
"""Of the data file of `chitchat-dataset` 0.9.0."""

_SPLIT_PERCENT: Mapping[Split, int] = {"train": 88, "validation": 3, "rl": 6, "heldout": 3}


class Pair(NamedTuple):
    """Two consecutive turns of one conversation."""

    prompt: str
    reply: str


class RatedConversation(NamedTuple):
    """A whole conversation and what one of its people thought of it."""

    turns: tuple[str, ...]
    """White space collapsed; nothing else is changed, and no turn is left out."""
    ratings: Mapping[str, int]
    """From 1 to 10, by `RATING_SCALES`."""


def chitchat_pairs(split: Split) -> tuple[Pair, ...]:
    """Read the pairs of turns of one split of the human conversations.

    A turn is everything that one person wrote before the other answered. It is cleaned by
    `clean_turn`; a pair counts only if both its turns survive that. Splits are made by
    conversation (`split_of`), so that no conversation is in two of them. Short turns such as
    "Hello!" occur in many conversations and therefore in several splits.

    Args:
        split: `"train"` and `"validation"` are for pretraining, `"rl"` holds prompts for
            reinforcement learning, `"heldout"` prompts for evaluation.

    Returns:
        The pairs, in the order of the data file.

    Raises:
        ValueError: If the split is unknown, or the data file is not the one it should be.
        ModuleNotFoundError: If `chitchat-dataset` is not installed.
    """
    _require_split(split)
    return _pairs_of_split(split)


def chitchat_prompts(split: Split) -> tuple[str, ...]:
    """Read the distinct turns of one split that somebody answered: prompts, in the file's order.

    Raises:
        ValueError, ModuleNotFoundError: As `chitchat_pairs`.
    """
    return tuple(dict.fromkeys(pair.prompt for pair in chitchat_pairs(split)))


def chitchat_stretches(split: Split) -> tuple[tuple[str, ...], ...]:
    """Read the stretches of the conversations of one split in which every turn is clean.

    Where `clean_turn` drops a turn, a stretch ends, and another begins after it.

    Returns:
        The turns of each stretch, at least two.

    Raises:
        ValueError, ModuleNotFoundError: As `chitchat_pairs`.
    """
    _require_split(split)
    return tuple(
        stretch
        for conversation_id, conversation in _conversations().items()
        if split_of(conversation_id) == split
        for stretch in _stretches(conversation["messages"])
    )


def rated_conversations(split: Split) -> tuple[RatedConversation, ...]:
    """Read the rated conversations of one split; which one of the two people rated is not said.

    Args:
        split: As of `chitchat_pairs`: the same conversations are in it.

    Raises:
        ValueError, ModuleNotFoundError: As `chitchat_pairs`.
    """
    _require_split(split)
    return tuple(
        RatedConversation(tuple(_tidy_turns(conversation["messages"])), conversation["ratings"])
        for conversation_id, conversation in _conversations().items()
        if split_of(conversation_id) == split and conversation.get("ratings")
    )


def split_of(conversation_id: str) -> Split:
    """Assign a conversation to a split by a hash of its id, the same on every machine.

    Example:
        >>> split_of("a07edb12-6b91-4138-b11e-02421888d699")
        'train'
    """
    percentile = int.from_bytes(hashlib.sha256(conversation_id.encode()).digest()[:8]) % 100
    for split, percent in _SPLIT_PERCENT.items():
        if percentile < percent:
            return split
        percentile -= percent
    raise AssertionError("the percentages of the splits do not add up to 100")


def clean_turn(text: str) -> str | None:
    """Tidy one turn, or drop it.

    White space is collapsed, a character repeated four times or more is shortened to three, and
    laughter of any length becomes "haha" (or "hehe"). Dropped are turns without a letter, longer
    than `MAX_TURN_CHARACTERS`, with a link, with a word of more than 20 characters (keyboard
    mashing) or with characters of programming code.

    Returns:
        The tidy turn, or None if it is dropped.

    Example:
        >>> clean_turn("Noooooo  way,   hahahahaha!!!!!!")
        'Nooo way, haha!!!'
        >>> clean_turn("https://example.org") is None
        True
    """
    text = " ".join(text.split())
    text = re.sub(r"(.)\1{3,}", r"\1\1\1", text)
    text = re.sub(r"\b([a-z]{2})\1{2,}[a-z]?\b", r"\1\1", text, flags=re.IGNORECASE)
    return text if _is_small_talk(text) else None


def _require_split(split: str) -> None:
    if split not in get_args(Split):
        raise ValueError(f"split must be one of {get_args(Split)}, got {split!r}")


def _is_small_talk(text: str) -> bool:
    return (
        len(text) <= MAX_TURN_CHARACTERS
        and re.search("[A-Za-z]", text) is not None
        and re.search(r"http|www\.|[{}\\|_=<>\[\]]|\S{21}", text) is None
    )


@cache
def _pairs_of_split(split: Split) -> tuple[Pair, ...]:
    return tuple(
        pair
        for conversation_id, conversation in _conversations().items()
        if split_of(conversation_id) == split
        for pair in _pairs(conversation["messages"])
    )


def _pairs(blocks: Sequence[Sequence[Mapping[str, str]]]) -> Iterator[Pair]:
    for prompt, reply in pairwise(map(clean_turn, _turns(blocks))):
        if prompt is not None and reply is not None:
            yield Pair(prompt, reply)


def _stretches(blocks: Sequence[Sequence[Mapping[str, str]]]) -> Iterator[tuple[str, ...]]:
    turns = map(clean_turn, _turns(blocks))
    for _, group in groupby(turns, key=lambda turn: turn is None):
        stretch = tuple(turn for turn in group if turn is not None)
        if len(stretch) > 1:
            yield stretch


def _turns(blocks: Sequence[Sequence[Mapping[str, str]]]) -> Iterator[str]:
    """Yield everything that one person wrote before the other answered."""
    messages = [message for block in blocks for message in block]
    for _, group in groupby(messages, key=lambda message: message["sender"]):
        yield " ".join(message["text"] for message in group)


def _tidy_turns(blocks: Sequence[Sequence[Mapping[str, str]]]) -> Iterator[str]:
    for turn in _turns(blocks):
        yield " ".join(turn.split())


def _conversations() -> Mapping[str, Any]:
    spec = importlib.util.find_spec("chitchat_dataset")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the conversations need chitchat-dataset: pip install 'text-gym[dialogue]'",
            name="chitchat_dataset",
        )
    path = Path(spec.origin).with_name("dataset.json")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != DATASET_SHA256:
        raise ValueError(f"{path} must have the SHA-256 {DATASET_SHA256}, got {found}: not used")
    conversations: Mapping[str, Any] = json.loads(data)
    return conversations
