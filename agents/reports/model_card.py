r"""A model card: a report as Markdown, below the front matter that model hubs read.

Every text in it is data: it is neither markup nor front matter. Knows nothing of models.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from huggingface_hub import ModelCardData

from agents.reports.report import Block, Section
from agents.reports.tables import Cell, Facts, Table
from agents.reports.texts import Code, Paragraph, SideBySide, Written
from text_gym.rendering.pieces import printable

CARD = "README.md"
_LINE_END = re.compile("\r\n?")
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~$&])")
_BEGINNING = re.compile(r"^(\s*\d*)([-+=.)])", re.MULTILINE)
"""What at the beginning of a line makes it part of a list, or the line above a heading."""


def model_card(title: str, sections: Sequence[Section], **front_matter: Any) -> str:
    """Returns a card.

    Args:
        title: Of the card.
        sections: Of paragraphs, facts, code, tables and texts side by side.
        front_matter: What `huggingface_hub.ModelCardData` knows; None is left out.

    Raises:
        TypeError: If there is a block of another kind.
    """
    said = ModelCardData(**{name: one for name, one in front_matter.items() if one is not None})
    parts = [f"# {_escaped(title)}", *(_section(one) for one in sections)]
    return f"---\n{said.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    return "\n\n".join([f"## {_escaped(section.title)}", *map(markdown, section.blocks)])


@functools.singledispatch
def markdown(block: Block) -> str:
    """Returns a block as Markdown.

    Raises:
        TypeError: If there is no such way to write it.
    """
    raise TypeError(f"blocks of a card must be texts and tables, got {type(block).__name__}")


@markdown.register
def _(block: Paragraph) -> str:
    return _BEGINNING.sub(r"\1\\\2", _escaped(block.text))


@markdown.register
def _(block: Code) -> str:
    longest = max(map(len, re.findall("`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{block.language}\n{block.text.rstrip()}\n{fence}"


@markdown.register
def _(block: Facts) -> str:
    return "\n".join(f"- **{_escaped(name)}:** {_cell(value)}" for name, value in block.facts)


@markdown.register
def _(block: Table) -> str:
    caption = [_escaped(block.caption)] if block.caption else []
    return "\n\n".join([_rows([block.headings, *block.rows]), *caption])


@markdown.register
def _(block: SideBySide) -> str:
    headings = ["prompt", *dict.fromkeys(one.by for texts in block.written for one in texts)]
    rows = [
        [prompt, *(_by(name, texts) for name in headings[1:])]
        for prompt, texts in zip(block.prompts, block.written, strict=True)
    ]
    return _rows([headings, *rows])


def _by(name: str, texts: Iterable[Written]) -> Cell:
    for one in texts:
        if one.by == name:
            return one.text if one.score is None else f"{one.text} ({one.score})"
    return None


def _rows(rows: Sequence[Sequence[Cell]]) -> str:
    head, *body = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def _cell(cell: Cell) -> str:
    return "<br>".join(_escaped(str(cell or "")).split("\n"))


def _escaped(text: str) -> str:
    r"""Returns a text whose signs stand for themselves.

    Example:
        >>> print(_escaped("*so* <b>"))
        \*so\* \<b\>
    """
    return _MARKUP.sub(r"\\\1", printable(_LINE_END.sub("\n", text)))
