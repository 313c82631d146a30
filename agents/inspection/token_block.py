"""Replies with their tokens in colour, as a block of a report.

Pointing at a token tells its numbers. Colours are those of `text_gym.rendering.palette`: orange
below zero, blue above, told apart by every common kind of colour blindness, in light, in dark and
on paper. One scale for all replies. Knows pieces of text and numbers; not what the numbers mean.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from markupsafe import Markup, escape

from text_gym.feedback.server.shown import shown
from text_gym.rendering.palette import DARK, LIGHT, STEPS, Colour, reach, signed, step_of
from text_gym.rendering.pieces import visible


@dataclass(frozen=True)
class Reply:
    """Holds a reply, token by token.

    Attributes:
        prompt: What was replied to.
        reward: What the reply was paid.
        pieces: What each of the T tokens wrote.
        numbers: By name, T numbers each.
    """

    prompt: str
    reward: float
    pieces: Sequence[str]
    numbers: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class TokensInColour:
    """Holds replies; the reader chooses which quantity colours them.

    Attributes:
        meanings: What each quantity says, by its name, the first being shown first.
        replies: All with numbers of these names.

    Raises:
        ValueError: If a reply has not a number of each quantity for each token.
    """

    meanings: Mapping[str, str]
    replies: Sequence[Reply]

    def __post_init__(self) -> None:
        """Checks that nothing is missing."""
        for reply in self.replies:
            sizes = {name: len(reply.numbers.get(name, ())) for name in self.meanings}
            if set(sizes.values()) - {len(reply.pieces)}:
                raise ValueError(
                    f"replies must have numbers for each of their tokens, got {sizes} for "
                    f"{len(reply.pieces)} tokens"
                )

    def html(self) -> Markup:
        """Returns the choice of quantities, their scales, and a card for each reply."""
        limits = {
            name: reach(np.array([one for reply in self.replies for one in reply.numbers[name]]))
            for name in self.meanings
        }
        choices = Markup("").join(map(_choice, range(len(limits)), self.meanings))
        scales = Markup("").join(
            _scale(at, name, self.meanings[name], limit)
            for at, (name, limit) in enumerate(limits.items())
        )
        cards = Markup("\n").join(_card(reply, limits) for reply in self.replies)
        return Markup(
            '<style>{}</style>\n<div class="inspected">'
            "<fieldset><legend>Colour by</legend>{}</fieldset>{}\n{}\n</div>"
        ).format(_style(len(limits)), choices, scales, cards)


def _choice(at: int, name: str) -> Markup:
    checked = Markup(" checked") if at == 0 else Markup("")
    button = Markup('<label><input type="radio" name="token-by" id="token-by-{}"{}>{}</label>')
    return button.format(at, checked, shown(name))


def _scale(at: int, name: str, meaning: str, limit: float) -> Markup:
    return Markup(
        '<p class="scale" id="token-scale-{}"><span>{}</span> <span class="bar"></span> '
        "<span>{}</span> <b>{}</b>: {}</p>"
    ).format(at, signed(-limit), signed(limit), shown(name), shown(meaning))


def _card(reply: Reply, limits: Mapping[str, float]) -> Markup:
    tokens = Markup("").join(_token(reply, at, limits) for at in range(len(reply.pieces)))
    return Markup(
        '<article><p class="prompt" dir="auto">{}</p>\n<p class="tokens" dir="auto">{}</p>\n'
        '<p class="score">reward {}</p></article>'
    ).format(shown(reply.prompt), tokens, signed(reply.reward))


def _token(reply: Reply, at: int, limits: Mapping[str, float]) -> Markup:
    shades, lines = [], []
    for number, (name, limit) in enumerate(limits.items()):
        value = reply.numbers[name][at]
        step = step_of(value, limit)
        if step is not None:
            shades.append(f"--c{number}:var({_variable(step)})")
        lines.append(Markup("<span><i>{}</i> {}</span> ").format(shown(name), signed(value)))
    return Markup(
        '<span class="token" tabindex="0" style="{}">{}<span class="tip">{}</span></span>'
    ).format(";".join(shades), escape(visible(reply.pieces[at])), Markup("").join(lines))


def _variable(step: int) -> str:
    return f"--{'minus' if step < 0 else 'plus'}-{abs(step)}"


def _shades(colours: Sequence[Colour]) -> str:
    steps = zip(range(-STEPS, STEPS + 1), colours, strict=True)
    return " ".join(f"{_variable(step)}: #{r:02x}{g:02x}{b:02x};" for step, (r, g, b) in steps)


@functools.cache
def _stylesheet() -> str:
    return files("agents.inspection").joinpath("tokens.css").read_text(encoding="utf-8")


def _style(quantities: int) -> Markup:
    """Returns the shades of light and dark, and the effect of the choice."""
    ramp = ", ".join(f"var({_variable(step)})" for step in range(-STEPS, STEPS + 1))
    rules = [
        f".inspected {{ {_shades(LIGHT)} --letters: #000; }}",
        "@media screen and (prefers-color-scheme: dark) "
        f"{{ .inspected {{ {_shades(DARK)} --letters: #fff; }} }}",
        f".inspected .bar {{ background: linear-gradient(to right, {ramp}); }}",
        _stylesheet(),
    ]
    for at in range(quantities):
        chosen = f".inspected:has(#token-by-{at}:checked)"
        rules.append(f"{chosen} .token {{ background: var(--c{at}, transparent); }}")
        hidden = f".inspected:has(#token-by-{at}:not(:checked)) #token-scale-{at}"
        rules.append(f"{hidden} {{ display: none; }}")
    return Markup("\n".join(rules))  # nothing in it comes from elsewhere
