"""The pages of a study over HTTP: every mode to its end, every door, the researcher's pages."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from text_gym.feedback import (
    BothBad,
    Completion,
    Correction,
    Item,
    Places,
    Preferred,
    Ratings,
    Scale,
    Skip,
    Store,
    StudyConfig,
    Tie,
    Turn,
    create_study,
)
from text_gym.feedback.access import Access
from text_gym.feedback.formats import EXPORTS
from text_gym.feedback.participation import Participation
from text_gym.feedback.server.app import make_app
from text_gym.feedback.simulated.pages import Page, parse_page

ADDRESS = "http://127.0.0.1:8000"
PATIENT: dict[str, Any] = {"gold_share": 0.0, "repeat_share": 0.0}


class Clock:
    """Ten seconds later whenever somebody looks."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        self.now += 10.0
        return self.now


class Browser:
    """One person's browser without JavaScript."""

    def __init__(self, app: Any) -> None:
        self.client = TestClient(app, base_url=ADDRESS)
        self.page: Page = self.get("/")

    def get(self, path: str, status: int = 200) -> Page:
        return self._read(self.client.get(path), status)

    def send(self, field: str, status: int = 200, **filled: str) -> Page:
        """Send the form of the page that has a field, filled in."""
        form = self.page.form_with(field)
        assert form is not None, self.page.elements
        data = {**form.fields, **filled}
        return self._read(self.client.post(form.action, data=data), status)

    def post(self, path: str, status: int, **data: str) -> Page:
        """Send what no form of the page offers, with its secret."""
        secret = next(form.fields["csrf"] for form in self.page.forms)
        return self._read(self.client.post(path, data={"csrf": secret, **data}), status)

    def enter(self, pseudonym: str = "Ann") -> Page:
        """Come in by the open door and read what is to be read."""
        self.send("pseudonym", pseudonym=pseudonym)
        return self.begin()

    def begin(self) -> Page:
        while self.page.form_with("go_on") is not None:
            self.send("go_on")
        return self.page

    def _read(self, response: Any, status: int) -> Page:
        assert response.status_code == status, response.text
        page = parse_page(str(response.url), response.status_code, response.text)
        self.html = response.text
        if status == 200:
            self.page = page
        return page


class Site:
    """A study that is served."""

    def __init__(self, folder: Path, config: StudyConfig, items: list[Item], **arguments: Any):
        study = create_study(folder, config, items)
        self.store: Store = study.open()
        participation = Participation(study, self.store, Clock(), random.Random(0))
        arguments = {
            "is_open": True,
            "address": ADDRESS,
            "participation": participation,
        } | arguments
        self.app = make_app(study, self.store, **arguments)
        self.access = Access(self.store)

    def browser(self) -> Browser:
        return Browser(self.app)

    def researcher(self) -> Browser:
        browser = self.browser()
        browser.get("/admin")
        browser.send("token", token=self.access.admin_token())
        return browser


Opened = Callable[..., Site]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Opened]:
    opened: list[Site] = []

    def make(
        config: StudyConfig | None = None, items: list[Item] | None = None, **arguments: Any
    ) -> Site:
        chosen = StudyConfig(title="Films", **PATIENT) if config is None else config
        some = works(3) if items is None else items
        opened.append(Site(tmp_path / str(len(opened)), chosen, some, **arguments))
        return opened[-1]

    yield make
    for one in opened:
        one.store.close()


def item(name: str, *texts: str, **fields: Any) -> Item:
    return Item(
        name, "The film was", tuple(map(Completion, texts or (" good.", " bad."))), **fields
    )


def works(count: int) -> list[Item]:
    return [item(f"work {number}") for number in range(count)]


# Judging


def test_what_stands_left_is_what_left_means(site: Opened) -> None:
    one = site(items=works(12))
    ann = one.browser()
    page = ann.enter()
    seen = []
    while page.form_with("answer") is not None:
        seen.append([element.text for element in page.of_class("completion")][1])
        page = ann.send("answer", answer="right")
    judged = one.store.judgements.all()
    texts = (" good.", " bad.")
    assert [texts[one.answer.completion] for one in judged] == seen  # type: ignore[union-attr]
    assert set(seen) == set(texts)
    assert "Thank you" in ann.html


@pytest.mark.parametrize(
    ("sent", "answer"), [("tie", Tie()), ("both_bad", BothBad()), ("skip", Skip())]
)
def test_other_answers_of_a_comparison(site: Opened, sent: str, answer: Any) -> None:
    one = site(items=works(1))
    ann = one.browser()
    ann.enter()
    ann.send("answer", answer=sent)
    (judgement,) = one.store.judgements.all()
    assert judgement.answer == answer


def test_strength_and_reason_are_kept_as_they_were_written(site: Opened) -> None:
    one = site(StudyConfig(ask_strength=True, ask_reason=True, **PATIENT), works(2))
    ann = one.browser()
    ann.enter()
    ann.send("answer", answer="left", strength="2", reason="Funny:\r\n<b>سلام</b> ")
    ann.send("answer", answer="left")
    first, second = one.store.judgements.all()
    assert (first.strength, first.reason) == (2, "Funny:\n<b>سلام</b>")
    assert (second.strength, second.reason) == (None, "")


def test_places_are_those_of_the_texts_as_shown(site: Opened) -> None:
    one = site(StudyConfig(mode="rank", **PATIENT), [item("a", "x", "y", "z")])
    ann = one.browser()
    page = ann.enter()
    shown = [element.text for element in page.of_class("completion")]
    ann.send("answer", answer="send", **{"place-1": "3", "place-2": "1", "place-3": "1"})
    (judgement,) = one.store.judgements.all()
    places = dict(zip(shown, (3, 1, 1), strict=True))
    assert judgement.answer == Places(tuple(places[text] for text in "xyz"))


def test_ratings_on_named_scales(site: Opened) -> None:
    scales = (Scale("helpful"), Scale("how kind?", 0, 10))
    one = site(StudyConfig(mode="rate", scales=scales, **PATIENT), [item("a", "x")])
    ann = one.browser()
    ann.enter()
    ann.send("answer", answer="send", **{"rating-helpful": "4", "rating-how kind?": "10"})
    (judgement,) = one.store.judgements.all()
    assert judgement.answer == Ratings({"helpful": 4, "how kind?": 10})


def test_a_correction_begins_with_the_text_and_keeps_its_lines(site: Opened) -> None:
    one = site(StudyConfig(mode="correct", **PATIENT), [item("a", "\n one\n  two\n")])
    ann = one.browser()
    page = ann.enter()
    form = page.form_with("answer")
    assert form is not None
    assert form.fields["text"] == "\n one\n  two\n"
    ann.send("answer", answer="send", text="\r\n one\r\n  three\r\n")
    (judgement,) = one.store.judgements.all()
    assert judgement.answer == Correction("\n one\n  three\n")


def test_an_answer_that_misses_something_is_asked_again(site: Opened) -> None:
    one = site(StudyConfig(mode="rank", **PATIENT), [item("a", "x", "y")])
    ann = one.browser()
    ann.enter()
    ann.send("answer", 422, answer="send", **{"place-1": "1"})
    assert "Place-2 must be a number" in ann.html
    ann.send("answer", answer="send", **{"place-1": "1", "place-2": "2"})
    assert len(one.store.judgements.all()) == 1


def test_undo_shows_the_item_again(site: Opened) -> None:
    one = site()
    ann = one.browser()
    before = ann.enter()
    ann.send("answer", answer="left")
    again = ann.send("undo", undo="yes")
    assert [e.text for e in again.of_class("completion")] == [
        e.text for e in before.of_class("completion")
    ]
    assert one.store.judgements.standing() == []
    assert ann.page.form_with("undo") is None


def test_sent_twice_is_recorded_once_and_the_way_goes_on(site: Opened) -> None:
    one = site()
    ann = one.browser()
    page = ann.enter()
    form = page.form_with("answer")
    assert form is not None
    for answer in ("left", "right"):
        response = ann.client.post(form.action, data={**form.fields, "answer": answer})
        assert response.status_code == 200
    assert len(one.store.judgements.all()) == 1


def test_anothers_lease_is_refused_and_both_keep_theirs(site: Opened) -> None:
    one = site()
    ann, bob = one.browser(), one.browser()
    theirs = ann.enter("Ann").form_with("answer")
    bob.enter("Bob")
    assert theirs is not None
    bob.post("/judge", 403, lease=theirs.fields["lease"], answer="left")
    bob.post("/judge", 409, lease="0" * 32, answer="left")
    ann.send("answer", answer="left")
    assert len(one.store.judgements.all()) == 1


def test_an_example_is_explained_with_the_letters_on_the_screen(site: Opened) -> None:
    lesson = item("t", purpose="tutorial", expected=Preferred(0), explanation="Good is better.")
    one = site(items=[*works(1), lesson])
    ann = one.browser()
    page = ann.enter()
    left = page.of_class("completion")[0].text
    ann.send("answer", answer="left" if left == " bad." else "right")
    assert "We expected another answer" in ann.html
    assert "Good is better." in ann.html
    bob = one.browser()
    bob.enter("Bob")
    bob.get(f"/explained/{one.store.judgements.all()[0].id}", 404)
    assert "The film was" in ann.send("go_on").text("prompt")


def test_a_conversation_is_shown_turn_by_turn(site: Opened) -> None:
    prompt = (Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", "How are you?"))
    one = site(items=[Item("c", prompt, (Completion("Fine"), Completion("Bad")))])
    page = one.browser().enter()
    assert re.findall(r"\w+", page.text("prompt")) == [
        "user", "Hi", "assistant", "Hello", "user", "How", "are", "you",
    ]  # fmt: skip


def test_who_wrote_it_is_nowhere_on_the_pages(site: Opened) -> None:
    texts = tuple(
        Completion(text, "secret model", {"seed": "secret seed"}) for text in ("one", "two")
    )
    one = site(items=[Item("secret id", "p", texts, metadata={"k": "secret note"})])
    ann = one.browser()
    ann.enter()
    assert "secret" not in ann.html


def test_markup_and_controls_in_texts_are_shown_and_not_obeyed(site: Opened) -> None:
    nasty = "<script>alert(1)</script>\x1b[31m\u202e{{ 7*7 }}\"'><img src=x>"
    one = site(StudyConfig(ask_reason=True, **PATIENT), [item("a", nasty, "plain")])
    ann = one.browser()
    ann.enter()
    assert "<script>alert" not in ann.html
    assert "<img src=x" not in ann.html
    assert not {"\x1b", "\u202e"} & set(ann.html)
    assert "{{ 7*7 }}" in ann.html


# Coming in


def test_a_link_lets_its_owner_in_on_any_device(site: Opened) -> None:
    one = site(is_open=False)
    ann = one.store.annotators.add("Ann")
    token = one.access.invite(ann)
    for _ in range(2):
        browser = one.browser()
        assert "open the link that you were given" in browser.html
        browser.get(f"/link/{token}")
        assert browser.begin().form_with("answer") is not None
    assert one.store.annotators.all() == [ann]


def test_forged_expired_and_replaced_links_are_refused(site: Opened) -> None:
    one = site(is_open=False)
    ann = one.store.annotators.add("Ann")
    first = one.access.invite(ann)
    expired = one.access.invite(ann, days=-1.0)
    browser = one.browser()
    browser.get(f"/link/{first}", 403)
    browser.get(f"/link/{expired}", 403)
    assert "too old" in browser.html
    browser.get("/link/" + "x" * 43, 403)
    browser.get("/judge", 401)


def test_nobody_joins_a_closed_study(site: Opened) -> None:
    one = site(is_open=False)
    browser = one.browser()
    browser.get("/admin")
    browser.post("/join", 403, pseudonym="Ann")
    assert one.store.annotators.all() == []


def test_a_pseudonym_is_nobody_elses(site: Opened) -> None:
    one = site()
    one.browser().enter("Ann")
    bob = one.browser()
    bob.send("pseudonym", 422, pseudonym="Ann")
    assert "nobody else" in bob.html
    bob.send("pseudonym", 422, pseudonym=" ")
    assert len(one.store.annotators.all()) == 1


def test_a_session_survives_reload_and_restart(site: Opened) -> None:
    one = site()
    ann = one.browser()
    page = ann.enter()
    shown = page.form_with("answer")
    study_again = make_app(
        create_study(one.store._database.path.parent / "x", StudyConfig(**PATIENT), []), one.store
    )
    again = TestClient(study_again, base_url=ADDRESS, cookies=ann.client.cookies)
    reloaded = parse_page("/judge", 200, again.get("/judge").text).form_with("answer")
    assert shown is not None
    assert reloaded is not None
    assert reloaded.fields == shown.fields


def test_signing_in_renews_the_session_and_signing_out_ends_it(site: Opened) -> None:
    one = site()
    ann = one.browser()
    before = ann.client.cookies["session"]
    ann.enter()
    during = ann.client.cookies["session"]
    assert before != during
    ann.get("/about")
    ann.post("/sign-out", 200)
    thief = one.browser()
    for stolen in (before, during):
        thief.client.cookies.set("session", stolen, domain="127.0.0.1")
        thief.get("/judge", 401)


WORKERS = [
    {"workerId": "A1", "assignmentId": "B2", "hitId": "C3"},
    {"PROLIFIC_PID": "A1", "STUDY_ID": "B2", "SESSION_ID": "C3"},
]


@pytest.mark.parametrize("parameters", WORKERS)
def test_a_crowd_worker_leaves_with_a_code_and_comes_back_as_the_same(
    site: Opened, parameters: dict[str, str]
) -> None:
    one = site(StudyConfig(crowd=True, **PATIENT), works(1), is_open=False)
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    codes = set()
    for _ in range(2):
        worker = one.browser()
        worker.get(f"/crowd/{one.access.crowd_link()}?{query}")
        worker.begin()
        if worker.page.form_with("answer") is not None:
            worker.send("answer", answer="left")
        codes.add(worker.page.of_class("code")[0].text)
    assert len(codes) == 1
    assert re.fullmatch("[A-Z2-7]{10}", codes.pop())
    assert len(one.store.judgements.all()) == len(one.store.annotators.all()) == 1
    assert "A1" not in one.store.annotators.all()[0].pseudonym


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/crowd/{}", "does not say who is coming"),
        ("/crowd/{}?workerId=A&assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE", "preview"),
        ("/crowd/forged?workerId=A", "not valid"),
    ],
)
def test_a_crowd_link_without_a_worker_is_refused(site: Opened, path: str, message: str) -> None:
    one = site(StudyConfig(crowd=True, **PATIENT), is_open=False)
    browser = one.browser()
    browser.get(path.format(one.access.crowd_link()), 403)
    assert message in browser.html


def test_a_paused_worker_gets_the_reason_and_no_code(site: Opened) -> None:
    one = site(StudyConfig(crowd=True, contact="ethics@example.org", **PATIENT), works(1))
    worker = one.browser()
    worker.get(f"/crowd/{one.access.crowd_link()}?workerId=A")
    worker.begin()
    one.store.annotators.record(one.store.annotators.all()[0].id, "paused", "Too fast by far.")
    page = worker.get("/judge")
    assert "Too fast by far." in worker.html
    assert "ethics@example.org" in worker.html
    assert page.of_class("code") == []


# One's own data


def test_who_asks_is_forgotten(site: Opened) -> None:
    one = site()
    ann = one.browser()
    ann.enter("Ann")
    ann.send("answer", answer="left")
    ann.get("/about")
    ann.send("forget", 422, forget="Bob")
    assert len(one.store.annotators.all()) == 1
    ann.send("forget", forget="Ann")
    assert one.store.annotators.all() == []
    assert one.store.judgements.all() == []
    ann.get("/judge", 401)


# The researcher


def test_the_researchers_pages_are_nobody_elses(
    site: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    one = site()
    ann = one.browser()
    ann.enter()
    annotator = one.store.annotators.all()[0]
    ann.get("/admin/export/plain", 401)
    ann.post(f"/admin/annotators/{annotator.id}", 401, action="exclude")
    ann.post("/admin/links", 401, pseudonym="Eve")
    ann.get("/admin")
    ann.send("token", 403, token="guess")
    assert "not the right one" in ann.html
    assert "refused 403 (wrong admin token): POST '/admin/sign-in'" in caplog.text
    assert one.store.annotators.excluded() == set()


def test_the_researcher_sees_the_state_and_stops_and_lets_go_on(site: Opened) -> None:
    config = StudyConfig(overlap=2, max_overlap=2, **PATIENT)
    one = site(config, works(4))
    ann, bob = one.browser(), one.browser()
    ann.enter("Ann")
    bob.enter("Bob")
    for answer in ("left", "right", "left", "tie"):
        ann.send("answer", answer=answer)
        bob.send("answer", answer="tie")
    boss = one.researcher()
    assert "8 of 8" in boss.html
    assert boss.html.count("<svg") == 3
    assert "equal" in boss.html
    person = one.store.annotators.named("Ann")
    assert person is not None
    boss.post(f"/admin/annotators/{person.id}", 200, action="pause", why="Lunch")
    ann.get("/judge")
    assert "Lunch" in ann.html
    boss.post(f"/admin/annotators/{person.id}", 200, action="resume")
    boss.post(f"/admin/annotators/{person.id}", 200, action="exclude")
    assert one.store.annotators.excluded() == {person.id}
    assert "4 of 8" in boss.html
    boss.post(f"/admin/annotators/{person.id}", 200, action="include")
    boss.post(f"/admin/annotators/{person.id}", 404, action="promote")
    boss.post("/admin/annotators/nobody", 404, action="pause")


def test_the_researcher_makes_links(site: Opened) -> None:
    one = site(is_open=False)
    boss = one.researcher()
    boss.send("pseudonym", pseudonym="Eve", role="expert")
    link = re.search(rf"{ADDRESS}(/link/[\w-]+)", boss.html)
    assert link is not None
    eve = one.browser()
    eve.get(link[1])
    assert eve.begin().form_with("answer") is not None
    assert one.store.annotators.all()[0].role == "expert"


def test_every_format_is_downloaded_and_nothing_else(site: Opened) -> None:
    one = site(items=works(2))
    ann = one.browser()
    ann.enter()
    ann.send("answer", answer="left")
    boss = one.researcher()
    for name in EXPORTS:
        assert f'href="/admin/export/{name}"' in boss.html
        response = boss.client.get(f"/admin/export/{name}")
        assert response.status_code == 200
        assert "attachment" in response.headers["content-disposition"]
        if name == "trl-preference":
            (row,) = map(json.loads, response.text.splitlines())
            assert row["judgements"] == [one.store.judgements.all()[0].id]
    for name in ("../plain", "..%2f..%2fstudy.json", "plain%00", "secret"):
        assert boss.client.get(f"/admin/export/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/nowhere", "/static/../app.py", "/static/%2e%2e/app.py"])
def test_what_is_not_there_is_a_page_that_says_so(site: Opened, path: str) -> None:
    browser = site().browser()
    browser.get(path, 404)
    assert "There is no such page" in browser.html


def test_a_full_disk_is_said_and_nothing_acknowledged_is_lost(site: Opened) -> None:
    one = site(StudyConfig(ask_reason=True, **PATIENT), works(30))
    database = one.store._database
    ann = one.browser()
    ann.enter()
    (pages,) = database.first("PRAGMA page_count") or (0,)
    database.write(f"PRAGMA max_page_count = {pages + 4}")
    acknowledged = 0
    while True:
        form = ann.page.form_with("answer")
        assert form is not None
        sent = {**form.fields, "answer": "tie", "reason": "x" * 2000}
        response = ann.client.post(form.action, data=sent)
        if response.status_code != 200:
            break
        acknowledged += 1
        ann.get("/judge")
    assert response.status_code == 507
    assert "could not be saved" in response.text
    database.write("PRAGMA max_page_count = 4000")
    assert acknowledged == len(one.store.judgements.all()) > 0
    response = ann.client.post(form.action, data=sent)
    assert response.status_code == 200
    assert acknowledged + 1 == len(one.store.judgements.all())
