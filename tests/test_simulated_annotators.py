"""Simulated annotators: the odds of their answers, and how they read pages."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from text_gym.feedback.answers import Preferred, Tie
from text_gym.feedback.simulated.answering import Manner, compare, pause, rank, rate
from text_gym.feedback.simulated.pages import parse_page
from text_gym.feedback.simulated.visiting import Visit, Visitor
from text_gym.rewards.function import as_reward_function

DRAWS = 4000


def share_of_left(rewards: tuple[float, float], manner: Manner, given: int = 0) -> float:
    chance = np.random.default_rng(0)
    answers = [compare(rewards, manner, given, chance) for _ in range(DRAWS)]
    return answers.count(Preferred(0)) / DRAWS


# Odds. Of 4,000 draws a share has a standard error of at most 0.008.


@pytest.mark.parametrize(
    ("rewards", "manner", "share"),
    [
        ((1.0, 0.0), Manner(), 1 / (1 + math.exp(-1))),
        ((1.0, 0.0), Manner(skill=2.0), 1 / (1 + math.exp(-2))),
        ((0.0, 5.0), Manner(accuracy=0.75), 0.25),
        ((0.1, 0.0), Manner(accuracy=0.75), 0.75),
        ((1.0, 0.0), Manner(accuracy=0.75, spam=1.0), 0.5),
        ((9.0, 0.0), Manner(spam=0.5), 0.75),
        ((0.0, 0.0), Manner(side_bias=1.0), 1 / (1 + math.exp(-1))),
        ((0.0, 0.0), Manner(tie=0.0), 1 / 3),
    ],
)
def test_the_odds_are_those_that_were_asked_for(
    rewards: tuple[float, float], manner: Manner, share: float
) -> None:
    assert share_of_left(rewards, manner) == pytest.approx(share, abs=0.03)


def test_attention_fades() -> None:
    tired = Manner(skill=2.0, drift=math.log(2) / 10)
    assert share_of_left((1.0, 0.0), tired, given=10) == pytest.approx(0.731, abs=0.03)


def test_nobody_ties_unless_they_would() -> None:
    chance = np.random.default_rng(0)
    assert Tie() not in [compare((0.0, 0.0), Manner(), 0, chance) for _ in range(100)]


def test_rankings_begin_with_the_best_as_often_as_plackett_and_luce_say() -> None:
    chance = np.random.default_rng(0)
    rewards = [0.0, 1.0, 2.0]
    best = [rank(rewards, Manner(), 0, chance).places.index(1) for _ in range(DRAWS)]
    expected = np.exp(rewards) / np.exp(rewards).sum()
    np.testing.assert_allclose(np.bincount(best) / DRAWS, expected, atol=0.03)


def test_ratings_rise_with_the_reward_and_stay_on_the_scale() -> None:
    chance = np.random.default_rng(0)
    means = [
        np.mean([rate(reward, 1, 5, Manner(), 0, chance) for _ in range(500)])
        for reward in (-2.0, 0.0, 2.0)
    ]
    assert means[0] < means[1] - 0.5 < means[2] - 1.0
    assert means[1] == pytest.approx(3.0, abs=0.15)
    ends = {rate(reward, 1, 5, Manner(), 0, chance) for reward in (-99.0, 99.0)}
    assert ends == {1, 5}


def test_time_grows_with_the_words_and_varies_by_a_third() -> None:
    chance = np.random.default_rng(0)
    manner = Manner(seconds=1.0, seconds_per_word=0.1)
    drawn = [pause(50, manner, chance) for _ in range(DRAWS)]
    assert np.mean(drawn) == pytest.approx(6.0, abs=0.15)
    assert np.std(drawn) == pytest.approx(2.0, abs=0.15)
    assert pause(50, Manner(), chance) == 0.0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"spam": 1.5}, r"spam must lie in \[0, 1\], got 1.5"),
        ({"accuracy": 1.0}, "accuracy must lie"),
    ],
)
def test_a_manner_that_is_none_is_refused(fault: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Manner(**fault)


# Pages


def test_a_page_is_read_as_a_browser_reads_it() -> None:
    page = parse_page(
        "/judge",
        200,
        """<p id="prompt" class="text big">2 &lt; 3<br>?</p>
        <form method="post" action="/judge">
          <input type="hidden" name="csrf" value="k&amp;y">
          <input type="radio" name="side" value="left">
          <input type="radio" name="side" value="right" checked>
          <textarea name="reason">
because</textarea>
          <select name="strength">
            <option value="">-</option><option value="2" selected>2</option>
          </select>
          <input name="off" value="1" disabled>
          <button name="answer" value="tie">Equal</button><button>Send</button>
        </form>
        <p class="text">after</p>""",
    )
    (form,) = page.forms
    assert (form.method, form.action) == ("post", "/judge")
    assert form.fields == {"csrf": "k&y", "side": "right", "reason": "because", "strength": "2"}
    assert form.choices == {
        "side": ["left", "right"],
        "strength": ["", "2"],
        "answer": ["tie"],
    }
    assert page.text("prompt") == "2 < 3?"
    assert [element.text for element in page.of_class("text")] == ["2 < 3?", "after"]
    assert page.form_with("answer") is form
    assert page.form_with("undo") is None
    with pytest.raises(KeyError, match="nowhere"):
        page.text("nowhere")


# Visits


class FakeSite:
    """A study of three items behind a consent page, as pages alone."""

    def __init__(self, form: str, texts: tuple[str, ...] = ("long text", "x")) -> None:
        self.form, self.texts, self.sent = form, texts, list[dict[str, str]]()
        self.agreed = False

    def get(self, url: str) -> SimpleNamespace:
        return self.page()

    def post(self, url: str, *, data: dict[str, str]) -> SimpleNamespace:
        if "go_on" in data:
            self.agreed = True
        else:
            self.sent.append(data)
        return self.page()

    def page(self) -> SimpleNamespace:
        html = '<form method="post"><button name="go_on" value="yes">I agree</button></form>'
        if self.agreed:
            texts = "".join(f'<div class="completion">{text}</div>' for text in self.texts)
            lease = f'<input type="hidden" name="lease" value="lease {len(self.sent)}">'
            html = f'<p id="prompt">Say</p>{texts}<form method="post">{lease}{self.form}</form>'
        if len(self.sent) == 3:
            html = "<p>Thank you.</p>"
        return SimpleNamespace(url="http://study/", status_code=200, text=html)


def longer(prompt: str, completion: str) -> float:
    return float(len(completion))


def visit_to(site: FakeSite, most: int | None = None) -> Visit:
    visitor = Visitor(
        site, as_reward_function(longer), Manner(skill=99.0), np.random.default_rng(0)
    )
    return visitor.visit("/", most)


def button(name: str, *values: str) -> str:
    return "".join(f'<button name="{name}" value="{value}"></button>' for value in values)


def test_a_visit_goes_from_consent_to_the_end() -> None:
    site = FakeSite(button("answer", "left", "right", "tie", "skip"))
    visit = visit_to(site)
    assert visit.judged == ["lease 0", "lease 1", "lease 2"]
    assert site.sent[0] == {"lease": "lease 0", "answer": "left"}
    assert visit.page.forms == []


def test_a_visit_ends_when_the_person_wants() -> None:
    assert len(visit_to(FakeSite(button("answer", "left", "right")), most=2).judged) == 2


def test_rankings_ratings_and_corrections_are_filled_in() -> None:
    send = button("answer", "send")
    ranked = FakeSite("".join(button(f"place-{at}", "1", "2", "3") for at in (1, 2, 3)) + send)
    ranked.texts = ("mid", "longest", "s")
    visit_to(ranked)
    assert ranked.sent[0] | {"lease": ""} == {
        "lease": "", "answer": "send", "place-1": "2", "place-2": "1", "place-3": "3"
    }  # fmt: skip
    rated = FakeSite(button("rating-help", "1", "2", "3", "4", "5") + send, ("long text",))
    visit_to(rated)
    assert rated.sent[0]["rating-help"] == "5"
    corrected = FakeSite('<textarea name="text">as is</textarea>' + send, ("as is",))
    visit_to(corrected)
    assert corrected.sent[0]["text"] == "as is"


def test_a_refusal_ends_the_visit_with_its_address() -> None:
    site = FakeSite("")
    site.page = lambda: SimpleNamespace(url="http://study/", status_code=403, text="")  # type: ignore[method-assign]
    with pytest.raises(ConnectionError, match=r"the server refuses http://study/: status 403"):
        visit_to(site)


def test_who_is_told_to_wait_waits_and_asks_again() -> None:
    site, waited = FakeSite(button("answer", "left", "right")), list[float]()
    ask = site.post

    def post(url: str, *, data: dict[str, str]) -> SimpleNamespace:
        too_fast = len(site.sent) == 1 and 1.0 not in waited
        return (
            SimpleNamespace(url=url, status_code=429, text="") if too_fast else ask(url, data=data)
        )

    site.post = post  # type: ignore[method-assign]
    visitor = Visitor(
        site, as_reward_function(longer), Manner(), np.random.default_rng(0), sleep=waited.append
    )
    assert visitor.visit("/").judged == ["lease 0", "lease 1", "lease 2"]
    assert waited.count(1.0) == 1


def test_where_everybody_may_come_in_a_person_says_their_pseudonym() -> None:
    site, said = FakeSite(button("answer", "left", "right")), list[dict[str, str]]()
    site.agreed = True
    way_in = '<form method="post"><input name="pseudonym"><button name="go_on" value="y"></form>'
    page = site.page
    site.page = lambda: page() if said else SimpleNamespace(url="/", status_code=200, text=way_in)  # type: ignore[method-assign]
    ask = site.post

    def post(url: str, *, data: dict[str, str]) -> SimpleNamespace:
        said.append(data)
        return ask(url, data=data)

    site.post = post  # type: ignore[method-assign]
    Visitor(site, as_reward_function(longer), Manner(), np.random.default_rng(0), "Ann").visit(
        "/", most=1
    )
    assert said[0] == {"pseudonym": "Ann", "go_on": "y"}
