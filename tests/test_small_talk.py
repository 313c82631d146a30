"""Tests of the built-in dialogue task on a fake data file and, where installed, on the real one."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from text_gym import small_talk
from text_gym.small_talk import (
    MAX_TURN_CHARACTERS,
    PROMPTS,
    RATING_SCALES,
    TEMPLATE,
    WORDS,
    Split,
    chitchat_pairs,
    chitchat_stretches,
    clean_turn,
    rated_conversations,
    split_of,
)

SPLITS: tuple[Split, ...] = get_args(Split)

needs_chitchat = pytest.mark.skipif(
    importlib.util.find_spec("chitchat_dataset") is None, reason="needs chitchat-dataset"
)


def message(sender: str, text: str) -> dict[str, str]:
    return {"sender": sender, "text": text, "timestamp": "2018-05-02T19:38:15Z"}


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, conversations: dict[str, Any]) -> None:
    data = json.dumps(conversations).encode()
    (folder / "dataset.json").write_bytes(data)
    monkeypatch.setattr(small_talk, "DATASET_SHA256", hashlib.sha256(data).hexdigest())
    spec = ModuleSpec("chitchat_dataset", None, origin=str(folder / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


@pytest.fixture
def fresh_cache() -> Iterator[None]:
    small_talk._pairs_of_split.cache_clear()
    yield
    small_talk._pairs_of_split.cache_clear()


def test_toy_vocabulary_has_31_distinct_words_and_no_other_characters() -> None:
    assert len(WORDS) == len(set(WORDS)) == 31
    assert all(word.isalpha() and word.islower() for word in WORDS)


def test_prompts_are_distinct_tidy_and_begin_with_how_are_you() -> None:
    assert PROMPTS[0] == "How are you?"
    assert len(set(PROMPTS)) == len(PROMPTS) == 48
    assert all(clean_turn(prompt) == prompt for prompt in PROMPTS)


def test_template_is_the_prompt_and_a_newline() -> None:
    assert TEMPLATE.format(prompt="Hi {you}!") == "Hi {you}!\n"


@pytest.mark.usefixtures("fresh_cache")
def test_a_data_file_that_was_altered_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, {})
    (tmp_path / "dataset.json").write_text("{ }")
    with pytest.raises(ValueError, match=r"dataset\.json must have the SHA-256 .*: not used"):
        chitchat_pairs("rl")


def test_a_stretch_of_a_conversation_ends_where_a_turn_is_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = ["Hello", "Hi", "https://example.org", "Pardon?", "Sorry", "Bye", "???", "Still there?"]
    messages = [[message("ab"[place % 2], text)] for place, text in enumerate(said)]
    install(monkeypatch, tmp_path, {"a07edb12-6b91-4138-b11e-02421888d699": {"messages": messages}})
    assert chitchat_stretches("train") == (("Hello", "Hi"), ("Pardon?", "Sorry", "Bye"))
    assert chitchat_stretches("rl") == ()


@pytest.mark.usefixtures("fresh_cache")
def test_consecutive_messages_of_one_sender_are_one_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    messages = [
        [message("a", "Hello"), message("a", " How are\nyou? ")],
        [message("b", "Fine!")],
        [message("b", "And you?")],
        [message("a", "???")],
        [message("b", "Hm?")],
        [message("a", "Bye")],
    ]
    install(monkeypatch, tmp_path, {"some id": {"messages": messages}})
    pairs = [pair for split in SPLITS for pair in chitchat_pairs(split)]
    assert pairs == [("Hello How are you?", "Fine! And you?"), ("Hm?", "Bye")]


@pytest.mark.usefixtures("fresh_cache")
def test_each_conversation_is_in_exactly_one_split(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    conversations = {
        f"id {number}": {"messages": [[message("a", f"Hi {number}"), message("b", "Yes")]]}
        for number in range(300)
    }
    install(monkeypatch, tmp_path, conversations)
    for split in SPLITS:
        prompts = {pair.prompt for pair in chitchat_pairs(split)}
        assert prompts == {f"Hi {n}" for n in range(300) if split_of(f"id {n}") == split}
        assert prompts


def test_a_rated_conversation_has_all_of_its_turns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    messages = [[message("a", "Hi"), message("a", " how  are\nyou")], [message("b", "???")]]
    ratings = {"witty": 1, "upbeat": 5, "interesting": 10}
    conversations = {
        "some id": {"messages": messages, "ratings": ratings},
        "other": {"messages": messages},
    }
    install(monkeypatch, tmp_path, conversations)
    (rated,) = [one for split in SPLITS for one in rated_conversations(split)]
    assert rated.turns == ("Hi how are you", "???")
    assert tuple(rated.ratings) == RATING_SCALES
    assert len(rated_conversations(split_of("some id"))) == 1
    with pytest.raises(ValueError, match="split must be one of"):
        rated_conversations("test")  # type: ignore[arg-type]


@needs_chitchat
def test_5988_conversations_are_rated() -> None:
    rated = [one for split in SPLITS for one in rated_conversations(split)]
    assert len(rated) == 5988
    assert all(1 <= one.ratings[scale] <= 10 for one in rated for scale in RATING_SCALES)


def test_split_of_known_ids_never_changes() -> None:
    ids = [str(number) for number in range(100_000)]
    assert [split_of(name) for name in ("0", "58", "8", "100")] == list(SPLITS)
    shares = {split: sum(split_of(name) == split for name in ids) / 1000 for split in SPLITS}
    assert shares == pytest.approx({"train": 88, "validation": 3, "rl": 6, "heldout": 3}, abs=0.5)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  two\n\twords ", "two words"),
        ("Sooooo good!!!!!", "Sooo good!!!"),
        ("bookkeeper, hmm...", "bookkeeper, hmm..."),
        ("hahahahahah yes", "haha yes"),
        ("HAHAHA", "HAHA"),
        ("", None),
        ("12:30 :)", None),
        ("see http://example.org", None),
        ("x" + "ab" * 10 + "c", None),
        ("if (a < b)", None),
        ("word " * 24 + "1", None),
    ],
)
def test_turns_are_tidied_or_dropped(text: str, cleaned: str | None) -> None:
    assert clean_turn(text) == cleaned


@given(st.text(max_size=150))
def test_a_clean_turn_is_one_short_line(text: str) -> None:
    cleaned = clean_turn(text)
    if cleaned is not None:
        assert cleaned == " ".join(cleaned.split())
        assert 0 < len(cleaned) <= MAX_TURN_CHARACTERS


def test_unknown_split_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"split must be one of .* got 'test'"):
        chitchat_pairs("test")  # type: ignore[arg-type]


@pytest.mark.usefixtures("fresh_cache")
def test_missing_data_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'text-gym\[dialogue\]'"):
        chitchat_pairs("train")


@needs_chitchat
def test_real_conversations_give_enough_pairs_for_every_purpose() -> None:
    sizes = {split: len(chitchat_pairs(split)) for split in SPLITS}
    assert sizes == {"train": 70904, "validation": 2813, "rl": 4905, "heldout": 2755}
