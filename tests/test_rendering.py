"""What a person sees: every line of it, and nothing that a terminal would obey."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from text_gym.rendering import printable, render_text


def test_a_text_that_is_not_finished_shows_prompt_and_completion() -> None:
    assert render_text("Hi", "there") == "prompt      Hi\ncompletion  there"


def test_a_finished_text_shows_why_it_stopped_and_what_it_was_paid() -> None:
    rendered = render_text("Hi", "", "length", -0.5, {"words": 1.0, "repeats": -1.5})
    assert rendered.splitlines() == [
        "prompt      Hi",
        "completion  ",
        "stop        length",
        "reward      -0.5000 (words 1.0000, repeats -1.5000)",
    ]


def test_a_reward_without_components_stands_alone_and_zero_is_shown() -> None:
    assert render_text("Hi", "x", "eos", 0.0).splitlines()[-1] == "reward      0.0000"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("bell\x07 back\x08 cr\r", r"bell\x07 back\x08 cr\r"),
        ("tab\t", r"tab\t"),
        ("c1 \x9b2J", r"c1 \x9b2J"),
        ("reversed \u202e", r"reversed \u202e"),
        ("line \u2028", r"line \u2028"),
        ("lone \ud800", r"lone \ud800"),
        ("nothing \x00", r"nothing \x00"),
        ("two\nlines, é, 私, 🙂", "two\nlines, é, 私, 🙂"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(), st.text())
def test_no_text_reaches_the_terminal_unescaped(prompt: str, completion: str) -> None:
    rendered = render_text(prompt, completion, "eos", 1.0)
    assert all(character.isprintable() or character == "\n" for character in rendered)
