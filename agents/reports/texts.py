"""Paragraphs, lines to copy, and texts side by side.

Knows nothing of who wrote them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from agents.reports.tables import Figure
from text_gym.feedback.server.shown import shown


@dataclass(frozen=True)
class Paragraph:
    """Holds a few sentences."""

    text: str

    def html(self) -> Markup:
        """Returns the paragraph."""
        return Markup("<p>{}</p>").format(shown(self.text))


@dataclass(frozen=True)
class Code:
    """Holds lines to copy.

    Attributes:
        text: The lines.
        language: What they are written in; empty: it does not say.
    """

    text: str
    language: str = ""

    def html(self) -> Markup:
        """Returns the lines, in a frame that scrolls where they are wider than the page."""
        return Markup(
            '<pre tabindex="0" role="region" aria-label="Code"><code>{}</code></pre>'
        ).format(shown(self.text))


@dataclass(frozen=True)
class Written:
    """Holds one text and what it is worth.

    Attributes:
        by: Who wrote it.
        text: What was written.
        score: What it is worth; None: nobody says.
    """

    by: str
    text: str
    score: Figure | None = None


@dataclass(frozen=True)
class SideBySide:
    """Holds what several wrote to each of some prompts.

    Attributes:
        prompts: What was replied to.
        written: For each prompt, the texts.

    Raises:
        ValueError: If there are not as many lists of texts as prompts.
    """

    prompts: Sequence[str]
    written: Sequence[Sequence[Written]]

    def __post_init__(self) -> None:
        """Checks that every prompt has its texts."""
        if len(self.prompts) != len(self.written):
            raise ValueError(
                f"written must hold the texts of {len(self.prompts)} prompts, got those of "
                f"{len(self.written)}"
            )

    def html(self) -> Markup:
        """Returns a card for each prompt."""
        cards = map(_card, self.prompts, self.written)
        return Markup('<div class="samples">\n{}\n</div>').format(Markup("\n").join(cards))


def _card(prompt: str, written: Sequence[Written]) -> Markup:
    texts = Markup("\n").join(map(_text, written))
    return Markup('<article><p class="prompt" dir="auto">{}</p>\n<dl>\n{}\n</dl></article>').format(
        shown(prompt), texts
    )


def _text(one: Written) -> Markup:
    score = Markup("")
    if one.score is not None:
        score = Markup('<dd class="score">{}</dd>').format(str(one.score))
    text = Markup('<div><dt>{}</dt><dd dir="auto">{}</dd>{}</div>')
    return text.format(shown(one.by), shown(one.text), score)
