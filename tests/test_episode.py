"""The finished text: read once, never changed, cheap to copy and to send."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text_gym import Episode


def episode(**changes: Any) -> Episode:
    fields: dict[str, Any] = {
        "prompt": "Hi",
        "prompt_ids": np.array([7, 8]),
        "completion_ids": np.array([1, 2, 0]),
        "stop_reason": "eos",
        "reference": "yes",
        "metadata": {"level": 1},
        "decode": lambda ids: " ".join(map(str, ids)),
    }
    return Episode(**{**fields, **changes})


class CountsDecoding:
    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, token_ids: Any) -> str:
        self.calls.append(token_ids.tolist())
        return "text"


def test_completion_is_decoded_when_first_read_and_only_then() -> None:
    decode = CountsDecoding()
    finished = episode(decode=decode)
    assert decode.calls == []
    assert finished.completion == finished.completion == "text"
    assert decode.calls == [[1, 2, 0]]


def test_showing_an_episode_does_not_decode_it() -> None:
    decode = CountsDecoding()
    shown = repr(episode(decode=decode))
    assert decode.calls == []
    assert "prompt='Hi'" in shown
    assert "CountsDecoding" not in shown


def test_episodes_with_equal_content_are_equal_whatever_reads_them() -> None:
    assert episode() == episode(decode=lambda ids: "1 2 0")


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Ho"},
        {"prompt_ids": np.array([7, 9])},
        {"prompt_ids": np.array([7])},
        {"completion_ids": np.array([1, 2, 3]), "decode": lambda ids: "1 2 0"},
        {"stop_reason": "stop"},
        {"reference": None},
        {"metadata": {}},
        {"decode": lambda ids: "other words"},
    ],
)
def test_episodes_differ_if_anything_that_was_written_differs(change: dict[str, Any]) -> None:
    assert episode() != episode(**change)


def test_an_episode_equals_nothing_else_and_has_no_hash() -> None:
    assert episode() != "Hi"
    with pytest.raises(TypeError, match="unhashable"):
        hash(episode())


def test_copies_are_the_episode_itself() -> None:
    finished = episode()
    assert copy.deepcopy({"text_episode": finished})["text_episode"] is finished
    assert copy.copy(finished) is finished


def test_an_episode_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        episode().prompt = "other"  # type: ignore[misc]


def test_pickling_keeps_the_text_and_leaves_the_tokenizer_behind() -> None:
    original = episode()  # its decode is a lambda, which does not pickle
    restored = pickle.loads(pickle.dumps(original))
    assert restored == original
    assert restored.completion == "1 2 0"
    assert restored.metadata == {"level": 1}
    assert pickle.loads(pickle.dumps(restored)) == original


def test_an_episode_made_of_texts_has_a_token_per_character() -> None:
    made = Episode.from_text("Hé", "🙂b", reference="c", metadata={"d": 1}, stop_reason="length")
    assert made.prompt_ids.tolist() == [72, 233]
    assert made.completion_ids.tolist() == [0x1F642, 98]
    assert (made.prompt, made.completion) == ("Hé", "🙂b")
    assert (made.reference, made.metadata, made.stop_reason) == ("c", {"d": 1}, "length")
    assert made.prompt_ids.dtype == made.completion_ids.dtype == np.int64


def test_an_episode_made_of_nothing_is_an_empty_text_ended_by_eos() -> None:
    empty = Episode.from_text()
    assert (empty.prompt, empty.completion, empty.stop_reason) == ("", "", "eos")
    assert empty.completion_ids.dtype == np.int64
    assert empty.completion_ids.shape == (0,)


@given(st.text(), st.text())
def test_an_episode_made_of_texts_reads_as_them(prompt: str, completion: str) -> None:
    made = Episode.from_text(prompt, completion)
    assert (made.prompt, made.completion) == (prompt, completion)
    assert pickle.loads(pickle.dumps(made)) == made
