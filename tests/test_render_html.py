"""The web page of an episode: all that it tells, and nothing of it that a browser would obey."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text_gym.episode import Episode
from text_gym.rendering import episode_html
from text_gym.tokenizers import WordTokenizer

VOID = {"meta", "input"}
HOSTILE = (
    "<script>alert('x')</script>\" onmouseover='x' &amp; \x1b[31m \u202e \x00 </style> ]]> -->"
)


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Finds descendants; an attribute matches if it holds the word."""
        found = [
            child
            for child in self.children
            if child.tag == tag
            and all(
                value in (child.attributes.get(name.rstrip("_")) or "").split()
                for name, value in attributes.items()
            )
        ]
        return found + [inner for child in self.children for inner in child.all(tag, **attributes)]

    def words(self) -> str:
        """The element's text with that of its descendants, in order of closing."""
        return self.text + "".join(child.words() for child in self.children)


class StrictParser(HTMLParser):
    """Builds the tree, and fails on a tag that is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert len(dict(attrs)) == len(attrs), f"{tag} repeats an attribute: {attrs}"
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].text += data


def parsed(page: str) -> Element:
    parser = StrictParser()
    parser.feed(page)
    parser.close()
    assert parser.open == [parser.root]
    return parser.root


def word_episode() -> Episode:
    tokenizer = WordTokenizer(["fine", "thanks", "!"])
    return Episode(
        prompt="How are you?",
        prompt_ids=np.array([0]),
        completion_ids=np.array([0, 1, 2, 3]),
        stop_reason="eos",
        reference="I am well",
        decode=tokenizer.decode,
    )


NUMBERS = {"log-prob": [-1.0, -0.5, np.nan, 0.0], "value": [0.25, 0.5, 1.0, -0.125]}


def tokens_of(page: Element) -> list[Element]:
    (text,) = page.all("p", class_="text")
    return text.all("span", class_="token")


# What it tells


def test_the_page_shows_prompt_tokens_and_facts() -> None:
    page = parsed(
        episode_html(word_episode(), reward=2.0, components={"words": 2.0}, title="Small talk")
    )
    assert [title.words() for title in page.all("title") + page.all("h1")] == ["Small talk"] * 2
    assert page.all("p", class_="prompt")[0].words() == "How are you?"
    assert [token.text for token in tokens_of(page)] == ["fine", " thanks", "!", "∅"]
    facts = [[element.words() for element in page.all(tag)] for tag in ("dt", "dd")]
    assert dict(zip(*facts, strict=True)) == {
        "Stop": "eos",
        "Tokens": "4",
        "Reward": "2.0000 (words 2.0000)",
        "Reference": "I am well",
    }


def test_facts_that_are_not_known_are_left_out() -> None:
    page = parsed(episode_html(Episode.from_text("a", "b", stop_reason="length")))
    assert [fact.words() for fact in page.all("dt")] == ["Stop", "Tokens"]


def test_every_token_can_be_reached_by_keyboard_and_tells_its_id_and_numbers() -> None:
    page = parsed(episode_html(word_episode(), NUMBERS))
    tips = []
    for token in tokens_of(page):
        assert token.attributes["tabindex"] == "0"
        (tip,) = token.all("span", role="tooltip")
        assert tip.attributes["id"] == token.attributes["aria-describedby"]
        tips.append([(line.all("i")[0].text, line.text.strip()) for line in tip.children])
    assert tips == [
        [("token id", "0"), ("log-prob", "−1"), ("value", "+0.25")],
        [("token id", "1"), ("log-prob", "−0.5"), ("value", "+0.5")],
        [("token id", "2"), ("log-prob", "–"), ("value", "+1")],
        [("token id", "3"), ("log-prob", "0"), ("value", "−0.125"), ("text", "end of text")],
    ]
    ids = re.findall(r'\bid="([^"]+)"', episode_html(word_episode(), NUMBERS))
    assert len(ids) == len(set(ids))


def test_a_token_without_text_ends_the_text_only_if_it_is_the_last_and_eos() -> None:
    def tips(stop_reason: Any) -> list[str]:
        episode = Episode("", np.arange(0), np.array([3, 3]), stop_reason, decode=lambda ids: "")
        return [
            token.all("span")[-1].text.strip() for token in tokens_of(parsed(episode_html(episode)))
        ]

    assert tips("eos") == ["none", "end of text"]
    assert tips("length") == ["none", "none"]


def test_a_table_holds_the_same_without_pointing() -> None:
    (table,) = parsed(episode_html(word_episode(), NUMBERS)).all("table")
    heads = table.all("th", scope="col")
    assert [head.words() for head in heads] == ["", "text", "id", "log-prob", "value"]
    rows = [[cell.words() for cell in row.all("td")] for row in table.all("tr")[1:]]
    assert rows == [
        ["0", "fine", "0", "−1", "+0.25"],
        ["1", " thanks", "1", "−0.5", "+0.5"],
        ["2", "!", "2", "–", "+1"],
        ["3", "∅", "3", "0", "−0.125"],
    ]


# Colours


def test_tiles_have_a_shade_for_each_quantity_and_none_for_nan() -> None:
    page = parsed(episode_html(word_episode(), NUMBERS))
    styles = [token.attributes["style"] for token in tokens_of(page)]
    assert styles == [
        "--c0:var(--minus-8);--c1:var(--plus-2)",
        "--c0:var(--minus-4);--c1:var(--plus-4)",
        "--c0:transparent;--c1:var(--plus-8)",
        "--c0:var(--plus-0);--c1:var(--minus-1)",
    ]
    assert [cell.attributes["style"] for cell in page.all("bdi")] == styles


def test_the_reader_chooses_the_quantity_and_each_has_its_scale() -> None:
    page = parsed(episode_html(word_episode(), NUMBERS))
    buttons = page.all("input")
    assert [button.attributes["id"] for button in buttons] == ["by-0", "by-1"]
    assert ["checked" in button.attributes for button in buttons] == [True, False]
    assert [label.words() for label in page.all("label")] == ["log-prob", "value"]
    scales = [[part.words() for part in scale.children] for scale in page.all("p", class_="scale")]
    assert scales == [["log-prob", "−1", "", "+1"], ["value", "−1", "", "+1"]]
    (style,) = page.all("style")
    for rule in (
        "main:has(#by-1:checked) .token { --tile: var(--c1); }",
        "main:has(#by-1:not(:checked)) #scale-1 { display: none; }",
    ):
        assert rule in style.text


def test_one_quantity_needs_no_choice_and_none_gives_plain_tiles() -> None:
    one = parsed(episode_html(word_episode(), {"value": NUMBERS["value"]}))
    assert not one.all("fieldset")
    assert len(one.all("p", class_="scale")) == 1
    none = parsed(episode_html(word_episode()))
    assert not none.all("p", class_="scale")
    assert "style" not in tokens_of(none)[0].attributes
    assert none.all("p", class_="plain")
    assert not one.all("p", class_="plain")


def test_every_colour_that_is_used_is_defined_for_light_and_for_dark() -> None:
    page = episode_html(word_episode(), NUMBERS)
    used = set(re.findall(r"var\((--[a-z]+-\d)\)", page))
    definitions = re.findall(r":root \{ ([^}]*) \}", page)
    assert len(definitions) == 2
    for shades in definitions:
        names = re.findall(r"(--[a-z]+-\d): #[0-9a-f]{6};", shades)
        assert len(names) == 17
        assert used <= set(names)


# What a browser must not obey


def test_untrusted_text_is_escaped_everywhere() -> None:
    episode = Episode.from_text(HOSTILE, HOSTILE, reference=HOSTILE)
    numbers = {HOSTILE: [0.0] * len(HOSTILE)}
    page = episode_html(episode, numbers, reward=1.0, components={HOSTILE: 1.0}, title=HOSTILE)
    tree = parsed(page)
    assert not tree.all("script")
    assert "<script" not in page
    assert len(tree.all("style")) == 1
    shown = HOSTILE.replace("\x1b", r"\x1b").replace("\u202e", r"\u202e").replace("\x00", r"\x00")
    assert tree.all("p", class_="prompt")[0].words() == shown
    assert "".join(token.text for token in tokens_of(tree)) == shown
    in_one_token = Episode("", np.array([0]), np.array([7]), "eos", decode=lambda ids: HOSTILE)
    assert [token.text for token in tokens_of(parsed(episode_html(in_one_token)))] == [shown]
    assert tree.all("h1")[0].words() == tree.all("title")[0].words() == shown
    assert tree.all("th")[3].words() == shown
    assert tree.all("dd")[3].words() == shown


def skeleton(element: Element) -> Any:
    """Everything but texts."""
    return (
        element.tag,
        element.attributes,
        [skeleton(child) for child in element.children],
    )


@given(st.lists(st.text(min_size=1), min_size=4, max_size=4))
def test_no_text_changes_the_structure_of_the_page(texts: list[str]) -> None:
    def page(prompt: str, piece: str, name: str, title: str) -> str:
        episode = Episode(prompt, np.array([0]), np.array([7]), "eos", decode=lambda ids: piece)
        return episode_html(episode, {name: [1.0]}, title=title)

    written = page(*texts)
    assert skeleton(parsed(written)) == skeleton(parsed(page("a", "b", "c", "d")))
    assert all(character.isprintable() or character == "\n" for character in written)
    written.encode("utf-8")


def test_the_page_asks_the_network_for_nothing_and_runs_nothing() -> None:
    page = episode_html(word_episode(), NUMBERS)
    tree = parsed(page)
    policies = [
        meta.attributes["content"]
        for meta in tree.all("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    for forbidden in ("http:", "https:", "url(", "@import", "src=", "href=", "<script", "<link"):
        assert forbidden not in page
    assert not re.search(r"\son\w+=", page)


def test_texts_choose_their_own_direction_and_marks_do_not_leave_their_token() -> None:
    episode = Episode.from_text("שלום", "אe\u0301")
    page = parsed(episode_html(episode))
    (text,) = page.all("p", class_="text")
    assert text.attributes["dir"] == "auto"
    assert page.all("p", class_="prompt")[0].attributes["dir"] == "auto"
    assert [token.text for token in tokens_of(page)] == ["א", "e", "◌\u0301"]


# Bad input


def test_numbers_and_pieces_must_be_one_per_token() -> None:
    with pytest.raises(ValueError, match=r"numbers\['value'\] must hold one number per token"):
        episode_html(word_episode(), {"value": [1.0]})
    with pytest.raises(ValueError, match=r"pieces must hold one text per token \(4\), got 1"):
        episode_html(word_episode(), pieces=["fine"])


def test_an_episode_that_lost_its_tokenizer_needs_pieces() -> None:
    travelled = pickle.loads(pickle.dumps(word_episode()))
    with pytest.raises(ValueError, match="pieces must be given for an episode that has lost its"):
        episode_html(travelled)
    pieces = ["fine", " thanks", "!", ""]
    assert episode_html(travelled, pieces=pieces) == episode_html(word_episode())


def test_an_empty_completion_has_a_page() -> None:
    page = parsed(episode_html(Episode.from_text("a", ""), {"value": []}))
    assert tokens_of(page) == []
    assert page.all("p", class_="scale")[0].words() == "value00"
