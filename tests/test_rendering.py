"""What a person sees: every line of it, and nothing that a terminal would obey."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text_gym import HuggingFaceTokenizer
from text_gym.rendering import printable, render_text, render_tokens, token_pieces
from text_gym.rendering.palette import DARK, LIGHT, TERMINAL_TILES, reach, signed, step_of
from text_gym.rendering.pieces import visible
from text_gym.tokenizers import WordTokenizer


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


# What each token wrote


def test_pieces_keep_the_spaces_that_joining_words_puts_in() -> None:
    tokenizer = WordTokenizer(["how", "are", "you", "?"])
    assert token_pieces(np.array([0, 1, 2, 3, 4]), tokenizer.decode) == [
        "how",
        " are",
        " you",
        "?",
        "",
    ]


def test_a_character_that_several_tokens_spell_belongs_to_the_one_that_completes_it(
    bpe: Any,
) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    token_ids = np.array([*tokenizer.encode("a🙂b"), tokenizer.eos_token_id])
    assert token_pieces(token_ids, tokenizer.decode) == ["a", "", "", "", "🙂", "b", ""]


def test_bytes_that_never_become_a_character_stay_with_the_tokens_that_wrote_them(bpe: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    first_byte = tokenizer.encode("🙂")[0]
    token_ids = np.array([*tokenizer.encode("a"), first_byte, *tokenizer.encode("b"), first_byte])
    assert token_pieces(token_ids, tokenizer.decode) == ["a", "\ufffd", "b", "\ufffd"]


@given(st.lists(st.integers(0, 279), max_size=12))
def test_pieces_join_to_the_text_whatever_bytes_were_written(bpe: Any, written: list[int]) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    token_ids = np.array(written, dtype=np.int64) % tokenizer.vocab_size
    pieces = token_pieces(token_ids, tokenizer.decode)
    assert len(pieces) == len(written)
    assert "".join(pieces) == tokenizer.decode(token_ids)


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        ("", "∅"),
        (" a", " a"),
        ("\n", "↵\n"),
        ("a\n\nb", "a↵\n↵\nb"),
        ("\x1b[0m", r"\x1b[0m"),
        ("\u0301x", "◌\u0301x"),
        ("e\u0301", "e\u0301"),
        ("\u094d", "◌\u094d"),
        ("\n\u0301", "↵\n◌\u0301"),
        ("👩\u200d👧", r"👩\u200d👧"),
        ("שלום", "שלום"),
    ],
)
def test_every_piece_can_be_seen_and_stands_by_itself(piece: str, shown: str) -> None:
    assert visible(piece) == shown


# Colours of numbers


def test_the_scale_is_symmetric_saturates_and_has_no_colour_for_nan() -> None:
    numbers = [-3.0, -2.0, -1.0, -0.1, 0.0, 0.1, 1.0, 2.0, np.inf, -np.inf]
    assert [step_of(number, 2.0) for number in numbers] == [-8, -8, -4, 0, 0, 0, 4, 8, 8, -8]
    assert step_of(np.nan, 2.0) is None


def test_without_a_finite_number_but_zero_only_the_sign_is_coloured() -> None:
    assert reach(np.array([0.0, np.nan, np.inf])) == 0.0
    assert reach(np.array([])) == 0.0
    assert [step_of(number, 0.0) for number in (0.0, np.inf, -np.inf)] == [0, 8, -8]


def test_the_scale_ends_at_the_largest_finite_magnitude_unless_told_otherwise() -> None:
    numbers = np.array([1.0, -2.5, np.nan, np.inf])
    assert reach(numbers) == 2.5
    assert reach(numbers, 4.0) == 4.0
    for limit in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=rf"limit must be positive and finite, got {limit}"):
            reach(numbers, limit)


def luminance(colour: Any) -> float:
    """The relative luminance of WCAG 2."""
    return float(linear(colour) @ (0.2126, 0.7152, 0.0722))


def linear(colour: Any) -> Any:
    share = np.array(colour) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def contrast(one: Any, other: Any) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def cube(number: int) -> tuple[int, ...]:
    """The colour of a number in the 256-colour table."""
    if number >= 232:
        return (8 + 10 * (number - 232),) * 3
    levels = (0, 95, 135, 175, 215, 255)
    return tuple(levels[(number - 16) // power % 6] for power in (36, 6, 1))


TERMINAL = [cube(number) for number in TERMINAL_TILES]


@pytest.mark.parametrize(
    ("tiles", "ink"),
    [(LIGHT, (26, 26, 26)), (DARK, (242, 242, 242)), (TERMINAL, (0, 0, 0))],
    ids=["light", "dark", "terminal"],
)
def test_letters_are_legible_on_every_tile_and_shades_deepen_away_from_zero(
    tiles: Any, ink: Any
) -> None:
    assert min(contrast(tile, ink) for tile in tiles) >= 4.5
    against_ink = [contrast(tile, ink) for tile in tiles]
    middle = len(tiles) // 2
    assert len(tiles) == 2 * middle + 1
    assert sorted(against_ink[: middle + 1]) == against_ink[: middle + 1]
    assert sorted(against_ink[middle:], reverse=True) == against_ink[middle:]


# Machado, Oliveira and Fernandes, 2009, at full severity, for linear RGB.
COLOUR_BLINDNESS = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("kind", COLOUR_BLINDNESS)
@pytest.mark.parametrize("tiles", [LIGHT, DARK, TERMINAL], ids=["light", "dark", "terminal"])
def test_below_and_above_zero_look_different_to_the_colour_blind(kind: str, tiles: Any) -> None:
    seen = [COLOUR_BLINDNESS[kind] @ linear(tile) for tile in (tiles[0], tiles[-1])]
    normal = [linear(tile) for tile in (tiles[0], tiles[-1])]
    assert np.linalg.norm(seen[0] - seen[1]) > 0.5 * np.linalg.norm(normal[0] - normal[1])


def test_numbers_are_written_in_three_digits_with_their_sign() -> None:
    numbers = (0.0, -0.0, 1.0, -0.12345, 12345.0, -1e-7, np.inf, np.nan)
    assert [signed(number) for number in numbers] == [
        "0",
        "0",
        "+1",
        "−0.123",
        "+1.23e+04",
        "−1e−07",
        "+inf",
        "–",
    ]


# Tokens in the terminal


def on(tile: int, text: str) -> str:
    return f"\x1b[38;5;16;48;5;{tile}m{text}\x1b[0m"


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("colours")
def test_tokens_stand_on_tiles_from_orange_to_blue_above_the_scale() -> None:
    rendered = render_tokens(["a", " b", "", "d"], [-2.0, 0.0, 0.7, 2.0], name="advantage")
    text, scale = rendered.split("\n")
    assert text == on(208, "a") + on(255, " b") + on(153, "∅") + on(69, "d")
    ramp = "".join(on(tile, "  ") for tile in (208, 215, 223, 255, 153, 111, 69))
    assert scale == f"advantage  −2 {ramp} +2"


@pytest.mark.usefixtures("colours")
def test_a_number_that_is_nan_leaves_its_token_bare() -> None:
    text = render_tokens(["a", "b"], [np.nan, 1.0]).split("\n")[0]
    assert text == "a" + on(69, "b")


@pytest.mark.usefixtures("colours")
def test_no_tile_is_open_at_a_line_break() -> None:
    lines = render_tokens(["a\n\nb\n"], [1.0], limit=3.0).split("\n")
    assert lines[:4] == [on(153, "a↵"), on(153, "↵"), on(153, "b↵"), ""]


@pytest.mark.usefixtures("colours")
def test_a_given_limit_makes_texts_comparable() -> None:
    assert render_tokens(["a"], [1.0], limit=3.0).startswith(on(153, "a"))
    assert render_tokens(["a"], [1.0]).startswith(on(69, "a"))


def test_without_colour_the_numbers_follow_their_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = "a[−2] b[–]\nvalue"
    assert render_tokens(["a", " b"], [-2.0, np.nan], color=False) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert render_tokens(["a", " b"], [-2.0, np.nan]) == plain
    assert render_tokens(["a"], [1.0], color=True).startswith(on(69, "a"))
    monkeypatch.setenv("NO_COLOR", "")  # counts as unset, https://no-color.org
    assert render_tokens(["a"], [1.0]).startswith(on(69, "a"))


def test_numbers_must_be_one_per_token() -> None:
    for values in ([1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], 1.0):
        with pytest.raises(
            ValueError, match=r"values must hold one number per token, shape \(2,\)"
        ):
            render_tokens(["a", "b"], values)


@given(st.lists(st.text(), max_size=5), st.text(), st.booleans())
def test_no_token_reaches_the_terminal_unescaped(pieces: list[str], name: str, color: bool) -> None:
    rendered = render_tokens(pieces, np.linspace(-1, 1, len(pieces)), name=name, color=color)
    own = re.sub(r"\x1b\[(0|38;5;16;48;5;\d+)m", "", rendered)
    assert all(character.isprintable() or character == "\n" for character in own)
    assert color or own == rendered
