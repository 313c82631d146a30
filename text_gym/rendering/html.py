"""A web page of one episode, in which every token tells its id and its numbers.

The page is one file without scripts that asks the network for nothing, and its content policy
forbids both. Knows nothing of environments; every text on it is escaped.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from text_gym.episode import Episode
from text_gym.quoting import quoted
from text_gym.rendering.palette import DARK, LIGHT, STEPS, Colour, reach, signed, step_of
from text_gym.rendering.pieces import numbers_of, printable, token_pieces, visible
from text_gym.rendering.text import reward_line

Numbers = Mapping[str, NDArray[np.float64]]


def episode_html(
    episode: Episode,
    numbers: Mapping[str, ArrayLike] | None = None,
    *,
    reward: float | None = None,
    components: Mapping[str, float] | None = None,
    pieces: Sequence[str] | None = None,
    title: str = "Episode",
) -> str:
    """Returns a self-contained web page of an episode.

    Pointing at a token, or reaching it with the tab key, shows its id and its numbers; a table
    below the text holds them all. The reader chooses which of the quantities colours the tokens.

    Args:
        episode: The finished text.
        numbers: What is known of the tokens, by name, one number per token: for instance
            `{"log-prob": ..., "value": ..., "reward": ...}`. NaN where there is none.
        reward: The feedback on the text.
        components: The terms of the reward, by name.
        pieces: What each token wrote; defaults to `token_pieces` of the completion.
        title: The heading.

    Raises:
        ValueError: If `numbers` or `pieces` do not hold one entry per token, or if the episode has
            lost its tokenizer (pickling leaves that behind) and `pieces` is not given.

    Example:
        >>> page = episode_html(Episode.from_text("Say", "<b>"), {"value": [0.5, 1.0, -0.2]})
        >>> "<b>" in page, "&lt;" in page
        (False, True)
    """
    pieces = _pieces(episode, pieces)
    arrays = {
        name: numbers_of(values, pieces, f"numbers[{name!r}]")
        for name, values in (numbers or {}).items()
    }
    body = [
        f"<h1>{_safe(title)}</h1>",
        f'<h2>Prompt</h2>\n<p class="prompt" dir="auto" lang="">{_safe(episode.prompt)}</p>',
        "<h2>Completion</h2>",
        _choices(list(arrays)),
        _text(episode, pieces, arrays),
        *(_scale(index, name, values) for index, (name, values) in enumerate(arrays.items())),
        _facts(episode, reward, components),
        _table(episode, pieces, arrays),
    ]
    return _page(_safe(title), _style(len(arrays)), "\n".join(filter(None, body)))


def _pieces(episode: Episode, pieces: Sequence[str] | None) -> Sequence[str]:
    if pieces is None:
        pieces, reads_as = _read(episode)
        if reads_as != episode.completion:
            raise ValueError(
                "pieces must be given for an episode that has lost its tokenizer: its tokens read "
                f"{quoted(reads_as)}, its completion {quoted(episode.completion)}"
            )
    if len(pieces) != len(episode.completion_ids):
        raise ValueError(
            f"pieces must hold one text per token ({len(episode.completion_ids)}), "
            f"got {len(pieces)}"
        )
    return pieces


def _read(episode: Episode) -> tuple[list[str], str]:
    """Returns what each of the policy's tokens wrote, and what that makes of the completion."""
    if not episode.passages:
        pieces = token_pieces(episode.completion_ids, episode.decode)
        return pieces, "".join(pieces)
    everything = np.concatenate([one.token_ids for one in episode.passages])
    every_piece = iter(token_pieces(everything, episode.decode))
    found: list[str] = []
    lines = []
    for one in episode.passages:
        pieces = [next(every_piece) for _ in one.token_ids]
        if one.writer == "policy":
            found += pieces
            # A passage reads as it does without what joins it to the one before.
            text = "".join(pieces)
            lines.append(one.text if text.strip() == one.text.strip() else text)
    return found, "\n".join(lines)


def _safe(text: str) -> str:
    return escape(printable(text))


def _page(title: str, style: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


@functools.cache
def _stylesheet() -> str:
    return files("text_gym.rendering").joinpath("episode.css").read_text(encoding="utf-8")


def _style(quantities: int) -> str:
    """Returns the style sheet, the shades of both colour schemes, and the effect of the choices."""
    shades = f":root {{ {_shades(LIGHT)} }}\n@media screen and (prefers-color-scheme: dark) "
    shades += f"{{ :root {{ {_shades(DARK)} }} }}\n"
    ramp = ", ".join(f"var({_variable(step)})" for step in range(-STEPS, STEPS + 1))
    rules = [f".bar {{ background: linear-gradient(to right, {ramp}); }}"]
    for index in range(quantities):
        chosen = f"main:has(#by-{index}:checked)"
        rules.append(f"{chosen} .token {{ --tile: var(--c{index}); }}")
        rules.append(f"main:has(#by-{index}:not(:checked)) #scale-{index} {{ display: none; }}")
    return shades + _stylesheet() + "\n".join(rules) + "\n"


def _shades(colours: Sequence[Colour]) -> str:
    return " ".join(
        f"{_variable(step)}: #{r:02x}{g:02x}{b:02x};"
        for step, (r, g, b) in zip(range(-STEPS, STEPS + 1), colours, strict=True)
    )


def _variable(step: int) -> str:
    return f"--{'minus' if step < 0 else 'plus'}-{abs(step)}"


def _choices(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    buttons = "".join(
        f'<label><input type="radio" name="by" id="by-{index}"{" checked" * (index == 0)}>'
        f"{_safe(name)}</label>"
        for index, name in enumerate(names)
    )
    return f"<fieldset><legend>Colour by</legend>{buttons}</fieldset>"


def _scale(index: int, name: str, values: NDArray[np.float64]) -> str:
    limit = reach(values)
    return (
        f'<p class="scale" id="scale-{index}"><span>{_safe(name)}</span>'
        f'<span>{signed(-limit)}</span><span class="bar"></span><span>{signed(limit)}</span></p>'
    )


def _text(episode: Episode, pieces: Sequence[str], numbers: Numbers) -> str:
    tiles = _tiles(len(pieces), numbers)
    others = _others(episode)
    tokens = "".join(
        f'{others.get(index, "")}<span class="token" tabindex="0" '
        f'aria-describedby="tip-{index}"{tiles[index]}>'
        f"{_shown(piece)}{_tip(index, episode, piece, numbers)}</span>"
        for index, piece in enumerate(pieces)
    )
    plain = "" if numbers else " plain"
    return f'<p class="text{plain}" dir="auto" lang="">{tokens}{others.get(len(pieces), "")}</p>'


def _others(episode: Episode) -> dict[int, str]:
    """Returns what others wrote, by the number of the policy's tokens before it."""
    shown: dict[int, str] = {}
    place = 0
    for one in episode.passages:
        if one.writer == "policy":
            place += len(one.token_ids)
        else:
            shown[place] = f'<span class="other"><i>{one.writer}</i> {_safe(one.text)}</span>'
    return shown


def _tiles(count: int, numbers: Numbers) -> list[str]:
    """Returns each token's style attribute: its shade under every quantity."""
    shades: list[list[str]] = [[] for _ in range(count)]
    for index, values in enumerate(numbers.values()):
        limit = reach(values)
        for shade, value in zip(shades, values.tolist(), strict=True):
            step = step_of(value, limit)
            colour = "transparent" if step is None else f"var({_variable(step)})"
            shade.append(f"--c{index}:{colour}")
    return [f' style="{";".join(shade)}"' if shade else "" for shade in shades]


def _shown(piece: str) -> str:
    return escape(visible(piece))


def _tip(index: int, episode: Episode, piece: str, numbers: Numbers) -> str:
    rows = [("token id", str(int(episode.completion_ids[index])))]
    rows += [(name, signed(float(values[index]))) for name, values in numbers.items()]
    if not piece:
        last = index == len(episode.completion_ids) - 1 and episode.stop_reason == "eos"
        rows.append(("text", "end of text" if last else "none"))
    lines = "".join(f"<span><i>{_safe(name)}</i> {escape(value)}</span> " for name, value in rows)
    return f'<span class="tip" role="tooltip" id="tip-{index}" lang="en">{lines}</span>'


def _facts(episode: Episode, reward: float | None, components: Mapping[str, float] | None) -> str:
    facts = {"Stop": episode.stop_reason, "Tokens": str(len(episode.completion_ids))}
    if reward is not None:
        facts["Reward"] = reward_line(reward, components)
    if episode.reference is not None:
        facts["Reference"] = episode.reference
    items = "".join(
        f'<dt>{name}</dt><dd dir="auto">{_safe(fact)}</dd>' for name, fact in facts.items()
    )
    return f"<dl>{items}</dl>"


def _table(episode: Episode, pieces: Sequence[str], numbers: Numbers) -> str:
    tiles = _tiles(len(pieces), numbers)
    heads = "".join(f'<th scope="col">{_safe(name)}</th>' for name in ("", "text", "id", *numbers))
    rows = []
    for index, piece in enumerate(pieces):
        cells = [
            str(index),
            f'<bdi class="token" lang=""{tiles[index]}>{_shown(piece)}</bdi>',
            str(int(episode.completion_ids[index])),
            *(signed(float(values[index])) for values in numbers.values()),
        ]
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    body = "\n".join(rows)
    return (
        '<h2>Tokens</h2>\n<div class="wide"><table>'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )
