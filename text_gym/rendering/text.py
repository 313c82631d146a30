"""Text for the terminal: an episode line by line, and its tokens in colour.

Knows nothing of environments. The only escape sequences it returns are its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TextIO

from numpy.typing import ArrayLike

from text_gym.episode import Passage, StopReason
from text_gym.rendering.palette import TERMINAL_TILES, reach, signed, step_of
from text_gym.rendering.pieces import numbers_of, printable, visible


def render_text(
    prompt: str,
    completion: str,
    stop_reason: StopReason | None = None,
    reward: float | None = None,
    components: Mapping[str, float] | None = None,
    *,
    passages: Sequence[Passage] = (),
) -> str:
    """Returns prompt, completion, and, once they are known, stop reason and reward, line by line.

    Of several turns, each of the `passages` has a line instead of the completion.

    Example:
        >>> print(render_text("How are you?", "fine thanks", "eos", 2.0, {"word_count": 2.0}))
        prompt      How are you?
        completion  fine thanks
        stop        eos
        reward      2.0000 (word_count 2.0000)
    """
    lines = [f"prompt      {printable(prompt)}"]
    lines += [f"{one.writer:<12}{printable(one.text)}" for one in passages] or [
        f"completion  {printable(completion)}"
    ]
    if stop_reason is not None:
        lines.append(f"stop        {stop_reason}")
    if reward is not None:
        lines.append(f"reward      {reward_line(reward, components)}")
    return "\n".join(lines)


def write_text(text: str, stream: TextIO) -> None:
    """Writes to a stream; characters that its encoding lacks become escapes."""
    encoding = stream.encoding or "utf-8"  # a stream in memory has none
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def reward_line(reward: float, components: Mapping[str, float] | None = None) -> str:
    """Returns a reward and the terms that it is made of, in one line."""
    parts = ", ".join(
        f"{printable(name)} {value:.4f}" for name, value in (components or {}).items()
    )
    return f"{reward:.4f}" + (f" ({parts})" if parts else "")


def render_tokens(
    pieces: Sequence[str],
    values: ArrayLike,
    *,
    name: str = "value",
    limit: float | None = None,
    color: bool | None = None,
) -> str:
    """Returns a text whose tokens are coloured by their numbers, and a line with the scale.

    Black letters on tiles of the 256-colour table: blue above zero, orange below, pale near it.
    They read alike on dark and on light terminals. A token whose number is NaN has no tile.

    Args:
        pieces: What each token wrote; see `token_pieces`.
        values: One number per token, shape (T,): rewards, log-probs, values, advantages.
        name: What the numbers are.
        limit: The number that is coloured most strongly; defaults to the largest magnitude. Give it
            to compare several texts.
        color: False writes the number behind each token instead. None decides by the environment
            variable `NO_COLOR`.

    Raises:
        ValueError: If `values` does not hold one number per piece, or `limit` is not positive.

    Example:
        >>> print(render_tokens(["fine", " thanks"], [0.5, -2.0], name="advantage", color=False))
        fine[+0.5] thanks[−2]
        advantage
    """
    numbers = numbers_of(values, pieces, "values")
    tokens = list(zip(map(visible, pieces), numbers.tolist(), strict=True))
    if color is None:
        color = not os.environ.get("NO_COLOR")
    if not color:
        marked = "".join(f"{text}[{signed(number)}]" for text, number in tokens)
        return f"{marked}\n{printable(name)}"
    limit = reach(numbers, limit)
    coloured = "".join(_tile(text, number, limit) for text, number in tokens)
    return f"{coloured}\n{_scale(name, limit)}"


def _tile(text: str, number: float, limit: float) -> str:
    middle = len(TERMINAL_TILES) // 2
    step = step_of(number, limit, middle)
    if step is None:
        return text
    # A background that is still on at a line break would run to the edge of the terminal.
    opening = f"\x1b[38;5;16;48;5;{TERMINAL_TILES[middle + step]}m"
    return "\n".join(f"{opening}{line}\x1b[0m" if line else line for line in text.split("\n"))


def _scale(name: str, limit: float) -> str:
    middle = len(TERMINAL_TILES) // 2
    tiles = "".join(_tile("  ", step, middle) for step in range(-middle, middle + 1))
    return f"{printable(name)}  {signed(-limit)} {tiles} {signed(limit)}"
