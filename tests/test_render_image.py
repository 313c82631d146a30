"""Pictures of episodes: where lines break, what colours stand where, and that they make a video."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordVideo
from hypothesis import given, settings
from hypothesis import strategies as st

from text_gym.rendering import render_image
from text_gym.rendering.fonts import drawable, load_font, shortened
from text_gym.rendering.image import GREY, INK, MARGIN, PAPER, PLAIN
from text_gym.rendering.layout import Run, wrap
from text_gym.rendering.palette import LIGHT

pytest.importorskip("PIL")


# Lines, measured in characters


def lines_of(pieces: list[str], width: int) -> list[str]:
    lines = wrap([Run(piece) for piece in pieces], len, width)
    return ["|".join(run.text for run in line) for line in lines]


@pytest.mark.parametrize(
    ("pieces", "width", "lines"),
    [
        ([], 9, [""]),
        (["to be", " or"], 9, ["to| |be| |or"]),
        (["to be or"], 5, ["to| |be| ", "or"]),
        (["to b", "e or"], 5, ["to| |b|e| ", "or"]),
        (["a", "no", "ther"], 9, ["a|no|ther"]),
        (["to an", "oth", "er"], 7, ["to| ", "an|oth|er"]),
        (["abcdef"], 4, ["a|b|c|d", "e|f"]),
        (["a bcdefg"], 4, ["a| |b|c", "d|e|f|g"]),
        (["ab", "cde"], 4, ["a|b|c|d", "e"]),
        (["one\n", "\ntwo"], 9, ["one", "", "two"]),
        (["a\u0301" * 5], 6, ["a\u0301|a\u0301|a\u0301", "a\u0301|a\u0301"]),
        (["a   b"], 3, ["a", "   ", "b"]),
        (["ab"], 0, ["a", "b"]),
        (["    "], 3, [" | | | "]),
        (["     "], 3, [" | | | ", " "]),
        (["abc", " ", " ", " d"], 3, ["abc| ", " | |d"]),
        (["abc", "   d"], 3, ["abc", "   ", "d"]),
    ],
)
def test_lines_break_between_words_however_many_tokens_wrote_them(
    pieces: list[str], width: int, lines: list[str]
) -> None:
    assert lines_of(pieces, width) == lines


def test_a_token_closes_with_the_last_of_its_parts_that_can_be_seen() -> None:
    lines = wrap([Run("a bc↵\n"), Run("d", closes=False)], len, 9)
    parts = [(run.text, run.closes) for line in lines for run in line]
    assert parts == [("a", False), (" ", False), ("bc↵", True), ("d", False)]


@given(st.lists(st.text("ab \n\u0301")), st.integers(2, 9))
def test_wrapping_loses_nothing_and_no_line_is_too_wide(pieces: list[str], width: int) -> None:
    lines = wrap([Run(piece) for piece in pieces], base_characters, width)
    assert "\n".join("".join(run.text for run in line) for line in lines).replace("\n", "") == (
        "".join(pieces).replace("\n", "")
    )
    for line in lines:
        text = "".join(run.text for run in line)
        assert base_characters(text.removesuffix(" ")) <= width


def base_characters(text: str) -> int:
    return len(text.replace("\u0301", ""))


# Pictures


def colours_in(picture: Any) -> set[tuple[int, ...]]:
    packed = np.unique(picture.reshape(-1, 3).astype(np.int64) @ (1 << 16, 1 << 8, 1))
    return {(colour >> 16, colour >> 8 & 255, colour & 255) for colour in packed.tolist()}


def first_column(picture: Any, colour: tuple[int, ...]) -> int:
    return int(np.argwhere((picture == colour).all(axis=-1))[:, 1].min())


def test_a_picture_is_bytes_of_the_asked_size_whatever_it_shows() -> None:
    for prompt, pieces in (("", []), ("Hi", ["a"]), ("word " * 500, ["token "] * 900)):
        picture = render_image(prompt, pieces)
        assert (picture.shape, picture.dtype) == ((480, 640, 3), np.uint8)
        assert picture.flags.writeable
    assert render_image("Hi", ["a"], width=322, height=402).shape == (402, 322, 3)


def test_a_picture_is_the_same_each_time_and_another_text_is_another_picture() -> None:
    assert np.array_equal(render_image("Hi", ["a", "b"]), render_image("Hi", ["a", "b"]))
    assert not np.array_equal(render_image("Hi", ["a", "b"]), render_image("Hi", ["a", "c"]))
    assert not np.array_equal(render_image("Hi", ["a", "b"]), render_image("Hi", ["ab"]))


@pytest.mark.parametrize(("width", "height"), [(319, 400), (320, 399)])
def test_a_picture_too_small_for_its_parts_is_refused(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=rf"at least 320 and 400, got {width} and {height}"):
        render_image("", [], width=width, height=height)


def test_the_prompt_is_grey_and_the_completion_black_on_two_greys_by_turns() -> None:
    prompt_only = colours_in(render_image("How are you?", []))
    assert GREY in prompt_only
    tiles = set(PLAIN)
    assert not tiles & prompt_only
    assert tiles & colours_in(render_image("How are you?", ["fine"])) == {PLAIN[0]}
    both = render_image("How are you?", ["fine", " thanks"])
    assert tiles <= colours_in(both)
    assert INK in colours_in(both[70:150])
    assert INK not in colours_in(both[:70])


def test_tokens_stand_in_order_from_orange_to_blue() -> None:
    picture = render_image("Hi", ["low", " none", " high"], [-1.0, 0.0, 1.0])[70:150]
    columns = [first_column(picture, tile) for tile in (LIGHT[0], LIGHT[8], LIGHT[16])]
    assert columns[0] == MARGIN
    assert columns == sorted(set(columns))
    assert set(LIGHT) & colours_in(picture) == {LIGHT[0], LIGHT[8], LIGHT[16]}


def test_a_token_whose_number_is_nan_stands_on_paper() -> None:
    picture = render_image("Hi", ["MMMMMM"], [np.nan])[70:150]
    assert not set(LIGHT) & colours_in(picture)
    assert PAPER in colours_in(picture)


def test_a_given_limit_weakens_the_colours() -> None:
    picture = render_image("Hi", ["MMMM"], [1.0], limit=2.0)[70:150]
    assert set(LIGHT) & colours_in(picture) == {LIGHT[12]}


def test_the_scale_shows_every_shade_and_only_where_there_are_numbers() -> None:
    for width in (320, 640):
        options: Any = {"name": "a long name for a number " * 5, "width": width}
        picture = render_image("Hi", [], [], **options)
        assert set(LIGHT) <= colours_in(picture)
        assert colours_in(picture[:, : MARGIN - 1]) == {PAPER}
        assert colours_in(picture[:, width - MARGIN + 2 :]) == {PAPER}
    assert not set(LIGHT) & colours_in(render_image("Hi", []))


def footer(**outcome: Any) -> Any:
    return render_image("Hi", ["a"], **outcome)[420:]


def test_the_footer_tells_stop_reason_reward_and_its_terms() -> None:
    shown = [
        footer(),
        footer(stop_reason="eos"),
        footer(stop_reason="length"),
        footer(stop_reason="eos", reward=0.0),
        footer(stop_reason="eos", reward=1.0),
        footer(stop_reason="eos", reward=1.0, components={"length": 1.0}),
    ]
    assert len({picture.tobytes() for picture in shown}) == len(shown)


def test_a_footer_that_is_too_long_ends_at_the_margin() -> None:
    picture = footer(reward=1.0, components={f"part_{i}": 0.5 for i in range(20)})
    assert colours_in(picture[:, 640 - MARGIN + 2 :]) == {PAPER}


def test_one_column_of_paper_parts_tokens_and_none_parts_the_words_of_a_token() -> None:
    tops_of_tiles = render_image("Hi", ["two words", " and", "more"], [1.0, 1.0, 1.0])[100:102]
    tiled = (tops_of_tiles == LIGHT[16]).all(axis=(0, 2))
    changes = np.flatnonzero(np.diff(tiled[MARGIN:].astype(int))) + MARGIN
    assert len(changes) == 5  # three tiles: where each ends, where the next two begin
    assert [changes[2 * i + 1] - changes[2 * i] for i in range(2)] == [1, 1]


def test_of_a_long_text_the_end_is_shown_and_the_heading_says_so() -> None:
    pieces = [" word"] * 300
    start = render_image("Hi", pieces, [1.0] + [0.0] * 299)[90:380]
    end = render_image("Hi", pieces, [0.0] * 299 + [1.0])[90:380]
    assert LIGHT[16] not in colours_in(start)
    assert LIGHT[16] in colours_in(end)
    fits, too_long = (render_image("\n".join("abcdefgh"[-n:]), []) for n in (4, 5))
    assert np.array_equal(fits[34:], too_long[34:])
    assert np.array_equal(fits[:34, :75], too_long[:34, :75])  # both begin with "Prompt"
    assert not np.array_equal(fits[:34], too_long[:34])


def test_a_character_without_width_has_a_tile_all_the_same() -> None:
    assert LIGHT[16] in colours_in(render_image("Hi", ["\ufffc"], [1.0])[90:150])


def test_while_a_text_grows_its_beginning_stays_in_place() -> None:
    short, longer = (render_image("Hi", [" word"] * n) for n in (2, 3))
    assert np.array_equal(short[:110, :130], longer[:110, :130])


def test_numbers_must_be_one_per_token() -> None:
    with pytest.raises(ValueError, match=r"values must hold one number per token, shape \(2,\)"):
        render_image("Hi", ["a", "b"], [1.0])


@pytest.mark.parametrize(
    "piece",
    [
        "\x1b[31mred\x07",
        "שלום עולם",
        "مرحبا بالعالم",
        "e\u0301\u0302\u0303",
        "\u0301",
        "नमस्ते",
        "你好",
        "🙂👩\u200d👧",
        "\u202ertl",
        "\ud800",
        "\r\n\t\x00",
        "\u115f\ufe0f",
    ],
)
def test_text_of_every_script_is_drawn(piece: str) -> None:
    tile = LIGHT[16]
    picture = render_image(piece, [piece, ""], [1.0, 0.0], reward=0.0, components={piece: 0.0})
    assert tile in colours_in(picture[:380])


@settings(max_examples=30)
@given(st.text(), st.lists(st.text(), max_size=5))
def test_no_text_breaks_a_picture(prompt: str, pieces: list[str]) -> None:
    assert render_image(prompt, pieces, width=320, height=400).shape == (400, 320, 3)


# Fonts


def test_characters_that_the_font_lacks_are_shown_as_escapes() -> None:
    font = load_font(None, 20)
    assert font.getname()[0] == "DejaVu Sans"
    text = "café Ελλάς Россия שלום مرحبا ∅↵◌−…\n"
    assert drawable(text, font) == text
    assert drawable("你 🙂 \u094d", font) == r"\u4f60 \U0001f642 \u094d"


def test_where_no_font_is_found_the_one_inside_pillow_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import ImageFont

    truetype = ImageFont.truetype

    def without_files(font: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(font, str):
            raise OSError("cannot open resource")
        return truetype(font, *args, **kwargs)

    monkeypatch.setattr(ImageFont, "truetype", without_files)
    font = load_font.__wrapped__(None, 20)
    assert font.getname()[0] == "Aileron"
    assert drawable("plain ∅", font) == r"plain \u2205"


def test_another_font_can_be_named_and_must_exist() -> None:
    matplotlib = importlib.util.find_spec("matplotlib")
    assert matplotlib is not None
    assert matplotlib.origin is not None
    folder = Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf"
    serif = render_image("Hi", ["a"], font=folder / "DejaVuSerif.ttf")
    assert not np.array_equal(serif, render_image("Hi", ["a"]))
    message = r"font must be a TrueType or OpenType file, got 'no such font\.ttf'"
    with pytest.raises(OSError, match=message):
        render_image("Hi", ["a"], font="no such font.ttf")


def test_an_environment_draws_in_the_font_that_gym_make_was_given() -> None:
    matplotlib = importlib.util.find_spec("matplotlib")
    assert matplotlib is not None
    assert matplotlib.origin is not None
    serif = Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSerif.ttf"
    options: dict[str, Any] = {"render_mode": "rgb_array", "render_font": str(serif)}
    env = gym.make("TextGen-v0", **options)
    envs = gym.make_vec("TextGen-v0", num_envs=2, **options)
    expected = render_image("How are you?", [], font=serif)
    for made in (env, envs):
        made.reset(seed=0)
    rows = envs.render()
    assert rows is not None
    for picture in (env.render(), *rows):
        assert np.array_equal(picture, expected)
    assert env.spec is not None
    assert "DejaVuSerif" in env.spec.to_json()


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_a_font_that_is_none_is_refused_at_once(make: Any) -> None:
    with pytest.raises(OSError, match=r"font must be a TrueType or OpenType file, got 'x\.ttf'"):
        make("TextGen-v0", render_font="x.ttf")


def test_a_line_that_is_too_wide_ends_in_an_ellipsis() -> None:
    font = load_font(None, 14)
    assert shortened("short", font, 999) == "short"
    cut = shortened("a line that is too wide", font, 60)
    assert cut.endswith("…")
    assert font.getlength(cut) <= 60
    assert "a line that is too wide".startswith(cut[:-1])
    assert font.getlength(cut[:-1] + "mm…") > 60


def test_without_pillow_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'text-gym\[render\]'"):
        render_image("Hi", ["a"])


# Video


class FilmedText(gym.Env[Any, Any]):
    """Writes the same five tokens in every episode, and can be filmed."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012
    observation_space = gym.spaces.Discrete(6)
    action_space = gym.spaces.Discrete(1)
    render_mode = "rgb_array"

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.written = 0
        return 0, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.written += 1
        return self.written, 0.0, self.written == 5, False, {}

    def render(self) -> Any:
        ended = self.written == 5
        return render_image(
            "Say something",
            ["A", " long", "er", "\n" * 40, ""][: self.written],
            stop_reason="eos" if ended else None,
            reward=1.0 if ended else None,
        )


def test_record_video_writes_one_frame_per_observation(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    env = RecordVideo(FilmedText(), str(tmp_path / "videos"), episode_trigger=lambda episode: True)
    env.reset(seed=0)
    for _ in range(5):
        env.step(0)
    env.close()
    (video,) = (tmp_path / "videos").glob("*.mp4")
    shown = read_video(imageio_ffmpeg.get_ffmpeg_exe(), video)
    assert len(shown) == 6
    assert np.abs(shown[2].astype(int) - frame_of(2)).mean() < 1.0
    assert np.abs(shown[5].astype(int) - frame_of(5)).mean() < 1.0


def read_video(ffmpeg: str, path: Path) -> Any:
    """Returns the frames, shape (n, 480, 640, 3)."""
    as_bytes = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-fps_mode", "passthrough", "-"]
    decoded = subprocess.run([ffmpeg, "-i", path, *as_bytes], capture_output=True, check=True)
    return np.frombuffer(decoded.stdout, np.uint8).reshape(-1, 480, 640, 3)


def frame_of(written: int) -> Any:
    env = FilmedText()
    env.reset()
    env.written = written
    return env.render().astype(int)
