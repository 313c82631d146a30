"""What each page is filled with, and how it becomes HTML.

A page is a dataclass; its template has its name and sees it as `page`, beside what is around every
page, `frame`. Whatever a page shows is escaped. Knows nothing of requests, rows or rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from text_gym.feedback.answers import Mode
from text_gym.feedback.config import Scale
from text_gym.feedback.items import Turn
from text_gym.feedback.refusal import Refusal
from text_gym.feedback.server.sessions import FIELD
from text_gym.feedback.server.shown import blocks, shown
from text_gym.rendering.pieces import printable


@dataclass(frozen=True)
class Frame:
    """Holds what is around every page."""

    study: str
    """Its title."""
    csrf: str = ""
    """For the page's forms; see `sessions`."""
    pseudonym: str = ""
    """Of who is signed in."""
    is_admin: bool = False
    contact: str = ""


class Page:
    """What stands on one page. A form is sent to the address that it is of, by POST."""


@dataclass(frozen=True)
class SignIn(Page):
    """Asks for the link of one's own; sends `token` to /admin/sign-in if it is for the admin."""

    for_admin: bool = False
    is_wrong: bool = False


@dataclass(frozen=True)
class Invitation(Page):
    """Welcomes who came by a link; sends `go_on` and `fields` to `action`."""

    action: str
    worker: str = ""
    """As the crowd's platform calls them."""
    asks_pseudonym: bool = False
    """Sends `pseudonym` too: whoever comes may take part."""
    fields: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Consent(Page):
    """Asks whether somebody agrees; sends `go_on` to /consent."""

    text: str


@dataclass(frozen=True)
class Guidelines(Page):
    """Says how to judge; if it is not only looked up, sends `go_on` to /guidelines."""

    text: str
    version: int
    must_agree: bool
    is_new: bool = False
    """They read an earlier version."""
    has_lessons: bool = False
    """Examples follow."""


@dataclass(frozen=True)
class Judging(Page):
    """Asks for one judgement.

    Sends to /judge: `lease` and `answer`, which is "skip", or "left", "right", "tie", "both_bad"
    where two texts are compared and "send" elsewhere; with it `place-1` and so on, by the order in
    which texts are shown; or `rating-NAME`; or `text`; where asked for, `strength` and `reason`.
    Sends `undo` to /undo.
    """

    lease: str
    mode: Mode
    question: str
    prompt: str | tuple[Turn, ...]
    texts: Sequence[str]
    """As they are shown, from left to right and from top to bottom."""
    scales: Sequence[Scale] = ()
    ask_strength: bool = False
    ask_reason: bool = False
    lesson: Literal["", "tutorial", "exam"] = ""
    done: int = 0
    """Judgements of this person,"""
    most: int = 0
    """of as many at most; 0: nobody knows."""
    can_undo: bool = False
    notice: str = ""
    """What happened just before."""
    longest_reason: int = 2_000
    longest_text: int = 50_000


@dataclass(frozen=True)
class Explained(Page):
    """Says whether the answer to an example was right, and why; sends `go_on` to /go-on."""

    prompt: str | tuple[Turn, ...]
    texts: Sequence[str]
    given: str
    """The answer as a person reads it; see `spelt`."""
    expected: str
    is_right: bool
    explanation: str


@dataclass(frozen=True)
class Done(Page):
    """Thanks; if somebody came from a crowd's platform, with the code that proves it."""

    judged: int
    code: str = ""
    can_undo: bool = False
    is_over: bool = True
    """False: there may be more later."""


@dataclass(frozen=True)
class Stopped(Page):
    """Says why somebody cannot go on."""

    reason: str
    failed_exam: bool = False


@dataclass(frozen=True)
class About(Page):
    """Says what is kept of a person; sends `forget`, which must be their pseudonym, to /forget."""

    pseudonym: str
    judged: int
    since: str
    """The day of the first judgement, or nothing."""
    problem: str = ""


@dataclass(frozen=True)
class Forgotten(Page):
    """Says that a person is no longer known."""


@dataclass(frozen=True)
class Refused(Page):
    """Says why a request is refused."""

    status: int
    explanation: str


@dataclass(frozen=True)
class AnnotatorRow:
    """Holds a line of the admin page's table; None is what nobody knows yet."""

    id: str
    pseudonym: str
    role: str
    judged: int
    skill: float | None
    """Share of known answers that were right, or what the model of all says."""
    left: float | None
    """Share of preferences for the left side."""
    seconds: float | None
    """Median for a judgement."""
    state: Literal["working", "paused", "rejected", "excluded", "new"]
    why: str = ""


@dataclass(frozen=True)
class Disagreement:
    """Holds an item on which people say different things."""

    item: str
    prompt: str
    answers: Sequence[tuple[str, int]]
    """What was said, and how often."""


@dataclass(frozen=True)
class Figure:
    """Holds a number of the admin page, with what it means."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Admin(Page):
    """Shows the state of the study.

    Sends `action` (pause, resume, exclude, include) and `why` to /admin/annotators/ID, and
    `pseudonym` and `role` to /admin/links.
    """

    figures: Sequence[Figure]
    done: int
    wanted: int
    plots: Sequence[Markup]
    """Made by `plots`."""
    annotators: Sequence[AnnotatorRow]
    disagreements: Sequence[Disagreement]
    exports: Sequence[str] = ()
    """Formats, each to be had from /admin/export/FORMAT."""
    new_link: str = ""
    """Just made: shown once."""
    notice: str = ""


def render(page: Page, frame: Frame) -> str:
    """Returns a page as HTML."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(page).__name__).lower()
    return _environment().get_template(f"{name}.html").render(page=page, frame=frame)


def refused(refusal: Refusal, frame: Frame) -> str:
    """Returns the page of a refusal as HTML."""
    return render(Refused(refusal.status, refusal.explanation), frame)


@lru_cache(1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("text_gym.feedback.server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "blocks": blocks, "printable": printable}
    environment.globals["csrf_field"] = FIELD
    return environment
