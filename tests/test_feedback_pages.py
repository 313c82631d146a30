"""The pages of a study: whatever texts are in them, they are shown and never obeyed."""

import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from tests.sample_pages import EVERY_PAGE, FRAME, JUDGING
from text_gym.feedback.config import Scale
from text_gym.feedback.items import Turn
from text_gym.feedback.server import pages, plots
from text_gym.feedback.server.shown import blocks, shown
from text_gym.feedback.simulated.pages import parse_page

EVIL = "<script>alert(1)</script>\"' onload=x {{ 7 * 7 }} </textarea>\x1b[31m\u202e"
every_page = pytest.mark.parametrize(
    "page",
    EVERY_PAGE,
    ids=[f"{type(page).__name__}-{at}" for at, page in enumerate(EVERY_PAGE)],
)


class Attributes(HTMLParser):
    """Collects what is in a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def found(html):
    reader = Attributes()
    reader.feed(html)
    return reader.found


def poisoned(value):
    """Returns the value with hostile text wherever there is free text."""
    if isinstance(value, str):
        return EVIL
    if isinstance(value, pages.AnnotatorRow):
        return replace(value, pseudonym=EVIL, why=EVIL, id=EVIL)
    if isinstance(value, pages.Disagreement):
        return pages.Disagreement(EVIL, EVIL, [(EVIL, 1)])
    if isinstance(value, Turn):
        return Turn(EVIL, EVIL)
    if isinstance(value, Scale):
        return replace(value, name=EVIL, lowest_label=EVIL, highest_label=EVIL)
    if isinstance(value, dict):
        return dict.fromkeys([EVIL], EVIL) if value else {}
    if isinstance(value, list | tuple):
        return tuple(map(poisoned, value))
    return value


KEPT = ("mode", "lesson", "plots", "figures", "state")


@every_page
def test_no_text_on_any_page_becomes_markup(page):
    evil = replace(
        page,
        **{
            one.name: poisoned(getattr(page, one.name))
            for one in fields(page)
            if one.name not in KEPT and not isinstance(getattr(page, one.name), bool | int)
        },
    )
    clean = found(pages.render(page, FRAME))
    html = pages.render(evil, replace(FRAME, study=EVIL, pseudonym=EVIL, contact=EVIL))
    assert [tag for tag, _ in found(html) if tag == "script"] == ["script"]
    assert not [a for _, a in found(html) if any(name.startswith("on") for name in a)]
    assert "49" not in re.sub(r"U\+\w+|\d{3,}", "", html)
    assert {tag for tag, _ in found(html)} <= {tag for tag, _ in clean} | {"span", "p"}


@every_page
def test_a_page_needs_nothing_that_the_policy_forbids(page):
    for tag, attributes in found(pages.render(page, FRAME)):
        assert tag != "style"
        assert "style" not in attributes
        for name in ("href", "src", "action"):
            assert attributes.get(name, "/").startswith(("/", "#"))


@every_page
def test_every_form_is_sent_by_post_with_the_secret(page):
    for form in parse_page("/", 200, pages.render(page, FRAME)).forms:
        assert form.method == "post"
        assert form.fields["csrf"] == FRAME.csrf


@every_page
def test_ids_are_unique_and_every_field_has_a_label(page):
    tags = found(pages.render(page, FRAME))
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = {attributes.get("for") for tag, attributes in tags if tag == "label"}
    for tag, attributes in tags:
        if tag in ("textarea", "select") or (
            tag == "input" and attributes.get("type") not in ("hidden", "radio")
        ):
            assert attributes["id"] in labelled


@pytest.mark.parametrize("text", ["\n\nTwo lines before", " spaces  ", "a\r\nb", "", "\ttab\n"])
@pytest.mark.parametrize("mode", ["compare", "correct"])
def test_a_text_reaches_the_reader_as_it_is(text, mode):
    page = replace(JUDGING, mode=mode, prompt=text, texts=(text, text))
    read = parse_page("/", 200, pages.render(page, FRAME))
    as_read = text.replace("\r\n", "\n")
    assert read.text("prompt") == as_read
    assert read.of_class("completion")[0].text == as_read
    if mode == "correct":
        assert read.form_with("text").fields["text"].replace("\r\n", "\n") == as_read


def test_enter_answers_nothing_where_two_texts_are_compared():
    html = pages.render(JUDGING, FRAME)
    form = html[html.index('id="judgement"') :]
    assert re.search(r"<button[^>]*>", form).group() == '<button name="answer" value="" hidden>'


def test_what_turns_the_direction_is_shown_and_what_joins_letters_is_kept():
    assert shown("a\u202eb") == (
        'a<span class="sign" title="U+202E RIGHT-TO-LEFT OVERRIDE">U+202E</span>b'
    )
    kept = "नमस्\u200cते 👩\u200d🔬 שלום\u200f! \u3000\u00a0é"
    assert shown(kept) == kept


@pytest.mark.parametrize("code", [0x00, 0x07, 0x9B, 0xD800, 0x2066, 0xE000, 0x2028])
def test_no_invisible_sign_stays_invisible(code):
    html = str(shown(chr(code)))
    assert f"U+{code:04X}" in html
    assert chr(code) not in html
    html.encode()


def test_guidelines_are_headings_paragraphs_and_lists():
    kinds = [
        (one.kind, list(one.lines)) for one in blocks("# A\ntext\nmore\n\n- x\n- y\n\n\n# B\n")
    ]
    assert kinds == [("h2", ["A"]), ("p", ["text more"]), ("ul", ["x", "y"]), ("h2", ["B"])]


@pytest.mark.parametrize(
    "plot",
    [
        plots.progress_plot([], 0),
        plots.progress_plot([5.0], 1),
        plots.progress_plot([float(at) for at in range(100_000)], 7),
        plots.skill_plot([plots.Dot("a", 0.0, 0.0), plots.Dot("b", 1e6, 1.0, True)]),
        plots.agreement_plot([]),
        plots.agreement_plot([0.0, 0.5, 1.0, 1.0]),
    ],
)
def test_a_plot_stays_within_its_frame_whatever_it_is_given(plot):
    numbers = re.findall(r'(?:cx|cy|x1|x2|y1|y2|[^a-z]x|[^a-z]y)="(-?[\d.]+)"', plot)
    points = re.search(r'points="([^"]*)"', plot)
    numbers += re.split("[ ,]", points.group(1)) if points else []
    assert all(-1 <= float(number) <= max(plots.WIDTH, plots.HEIGHT) for number in numbers)
    assert "nan" not in plot
    assert len(plot) < 50_000


def test_the_last_point_of_progress_is_the_last_judgement():
    plot = plots.progress_plot([float(at) for at in range(12_345)], 12_345)
    assert re.search(r" ([\d.]+),24\.0\"", plot)


def test_bars_count_the_items():
    plot = plots.agreement_plot([0.05, 0.95, 1.0, 0.9])
    assert [int(count) for count in re.findall(r"<title>(\d+) items", plot)] == (
        [1] + [0] * 8 + [3]
    )
