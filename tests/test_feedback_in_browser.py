"""Whole sessions at the pages of a study, in a real browser: by mouse, keys, touch, without script.

Needs Chromium on the machine, which `.ci/run` installs; skipped where there is none.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, sync_playwright

from tests.sample_pages import EVERY_PAGE, FRAME
from text_gym.feedback import (
    BothBad,
    Completion,
    Correction,
    Item,
    Places,
    Preferred,
    QualityRules,
    Ratings,
    Scale,
    Skip,
    Store,
    StudyConfig,
    Tie,
    Turn,
    create_study,
    open_study,
)
from text_gym.feedback.server import app as application
from text_gym.feedback.server.app import make_app
from text_gym.feedback.server.headers import HEADERS
from text_gym.feedback.server.pages import render

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="the pages are tried in Chromium: apt-get install chromium"
    ),
]

STATIC = Path(application.__file__).parent / "static"
PATIENT = QualityRules(least_seconds=0.0, seconds_per_word=0.0)
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>\x1b[31m\u202e"
SCALES = (Scale("helpful", 1, 5, "not at all", "very"), Scale("true", 0, 1))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[tuple[str, Store]]:
    """Serves a study on loopback; yields its address and its store."""
    with open_study(folder).open() as store:
        app = make_app(open_study(folder), store, hosts=["127.0.0.1"])
        server = uvicorn.Server(
            uvicorn.Config(app, port=port, log_level="critical", lifespan="off")
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}", store
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def visited(browser: Browser, *, restarted: bool = False, **settings: object) -> Iterator[Page]:
    """Yields a page of a browser of its own, which must not be disturbed by script or policy.

    Where the server is restarted, the browser may ask in vain for a file in between.
    """
    context = browser.new_context(**settings)
    page = context.new_page()
    page.set_default_timeout(5_000)
    disturbances: list[str] = []
    page.on("dialog", lambda dialog: (disturbances.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: disturbances.append(str(error)))
    page.on(
        "console", lambda said: disturbances.append(said.text) if said.type == "error" else None
    )
    page.on(
        "request",
        lambda sent: None if "//127.0.0.1:" in sent.url else disturbances.append(sent.url),
    )
    yield page
    context.close()
    refused = "ERR_CONNECTION_REFUSED"
    assert [one for one in disturbances if not (restarted and refused in one)] == []


def items(count: int, texts: tuple[str, ...], prompt: object = "Once upon a time") -> list[Item]:
    return [
        Item(f"item-{at}", prompt, tuple(Completion(f"{text} {at}") for text in texts))
        for at in range(count)
    ]


LESSON = Item(
    "lesson", "2 + 2 =", (Completion(" 4"), Completion(" 5")), "tutorial", Preferred(0),
    "It is four.",
)  # fmt: skip


def study(folder: Path, mode: str, work: list[Item], **settings: object) -> Path:
    settings = {"title": "Tides", "mode": mode, "gold_share": 0.0, "rules": PATIENT} | settings
    create_study(folder, StudyConfig(**settings), work)
    return folder


def come_in(page: Page, address: str, name: str = "ann") -> None:
    """Signs in by mouse, agrees and reads on."""
    page.goto(address)
    page.get_by_label("A name to take part under").fill(name)
    choose(page, "Begin")
    choose(page, "I agree and take part")
    choose(page, "Go on to")


def choose(page: Page, name: str, by: str = "click") -> None:
    """Presses a button that leads to another page."""
    with page.expect_navigation():
        getattr(page.get_by_role("button", name=name), by)()


def said(store: Store) -> list[object]:
    """Returns the answers that stand, in order."""
    return [one.answer for one in store.judgements.standing()]


def upper(page: Page, text: str) -> str:
    """Returns the letter of the card that shows a text."""
    heading = page.locator(".card", has_text=text).locator("h2")
    return heading.inner_text().removeprefix("Text ").strip()


def test_a_session_by_mouse(browser, tmp_path):
    folder = study(tmp_path / "s", "compare", [LESSON, *items(4, ("good", "bad"))])
    with served(folder) as (address, store), visited(browser) as page:
        come_in(page, address)
        choose(page, f"{upper(page, '5')} is better")
        assert "We expected another answer" in page.inner_text("h1")
        assert "It is four." in page.inner_text("main")
        choose(page, "Go on")
        choose(page, f"{upper(page, 'good')} is better")
        choose(page, "Undo the last answer")
        choose(page, f"{upper(page, 'bad')} is better")
        choose(page, "Equal")
        choose(page, "Both bad")
        choose(page, "Skip")
        assert page.inner_text("h1") == "Nothing to do at the moment"
        assert said(store)[1:] == [Preferred(1), Tie(), BothBad(), Skip()]
        assert len(store.judgements.all()) == 6


def test_a_session_by_keyboard_alone(browser, tmp_path):
    folder = study(tmp_path / "s", "compare", [LESSON, *items(5, ("good", "bad"))])
    with served(folder) as (address, store), visited(browser) as page:
        page.goto(address)
        tab_to(page, "#pseudonym")
        page.keyboard.type("ann")
        press(page, "Enter")
        for _ in ("consent", "guidelines"):
            tab_to(page, "button.main")
            press(page, "Enter")
        press(page, "1")
        tab_to(page, "button.main")
        press(page, "Enter")
        left = store.leases.all()[0].order[0]
        press(page, "1")
        press(page, "u")
        press(page, "1")
        right = store.leases.all()[0].order[1]
        for key in "234s":
            press(page, key)
        assert page.inner_text("h1") == "Nothing to do at the moment"
        assert said(store)[1:] == [Preferred(left), Preferred(right), Tie(), BothBad(), Skip()]


def tab_to(page: Page, selector: str) -> None:
    """Moves the focus forward until it is there."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            return
    pytest.fail(f"the focus never came to {selector}")


def press(page: Page, key: str) -> None:
    """Presses a key that leads to another page."""
    with page.expect_navigation():
        page.keyboard.press(key)


def test_arrows_move_between_the_answers(browser, tmp_path):
    folder = study(tmp_path / "s", "compare", items(1, ("a", "b")))
    with served(folder) as (address, store), visited(browser) as page:
        come_in(page, address)
        tab_to(page, ".answers button")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        press(page, "Enter")
        assert said(store) == [Tie()]


def test_keys_mean_nothing_while_somebody_writes(browser, tmp_path):
    folder = study(tmp_path / "s", "compare", items(1, ("a", "b")), ask_reason=True)
    with served(folder) as (address, store), visited(browser) as page:
        come_in(page, address)
        page.get_by_label("Why?").fill("")
        page.get_by_label("Why?").press_sequentially("12 su")
        page.keyboard.press("Escape")
        press(page, "3")
        assert store.judgements.standing()[0].reason == "12 su"


def test_enter_on_the_strength_sends_nothing(browser, tmp_path):
    folder = study(tmp_path / "s", "compare", items(1, ("a", "b")), ask_strength=True)
    with served(folder) as (address, store), visited(browser) as page:
        come_in(page, address)
        page.get_by_label("clearly").check(force=True)
        page.keyboard.press("Enter")
        page.wait_for_timeout(200)
        assert said(store) == []
        press(page, "1")
        assert store.judgements.standing()[0].strength == 2


def test_places_by_digits(browser, tmp_path):
    folder = study(tmp_path / "s", "rank", items(1, ("a", "b", "c")))
    with served(folder) as (address, store), visited(browser) as page:
        come_in(page, address)
        order = store.leases.all()[0].order
        for key in "311":
            page.keyboard.press(key)
        press(page, "Enter")
        places = dict(zip(order, (3, 1, 1), strict=True))
        assert said(store) == [Places(tuple(places[at] for at in range(3)))]


def test_ratings_by_digits(browser, tmp_path):
    folder = study(tmp_path / "s", "rate", items(1, ("a",)), scales=SCALES)
    with served(folder) as (address, store), visited(browser) as page:
        come_in(page, address)
        for key in "40":
            page.keyboard.press(key)
        press(page, "Enter")
        assert said(store) == [Ratings({"helpful": 4, "true": 0})]


def test_a_correction_is_sent_from_within_the_text(browser, tmp_path):
    folder = study(tmp_path / "s", "correct", items(1, ("\n a",)))
    with served(folder) as (address, store), visited(browser) as page:
        come_in(page, address)
        page.get_by_label("The text, for you to change").press("Control+End")
        page.keyboard.type("!\nMore")
        press(page, "Control+Enter")
        assert said(store) == [Correction("\n a 0!\nMore")]


@pytest.mark.parametrize("mode", ["compare", "rank", "rate", "correct"])
def test_a_session_without_javascript(browser, tmp_path, mode):
    texts = {"compare": ("a", "b"), "rank": ("a", "b", "c")}.get(mode, ("a",))
    folder = study(tmp_path / "s", mode, items(2, texts), scales=SCALES)
    with served(folder) as (address, store), visited(browser, java_script_enabled=False) as page:
        come_in(page, address)
        if mode == "compare":
            choose(page, "Equal")
        elif mode == "rank":
            for letter, place in zip("ABC", "122", strict=True):
                group = page.get_by_role("group", name=f"Place of text {letter}")
                group.get_by_label(place).check(force=True)
        elif mode == "rate":
            page.get_by_label("5, very").check(force=True)
            page.get_by_role("group", name="true").get_by_label("1").check(force=True)
        else:
            page.get_by_label("The text, for you to change").fill("b")
        if mode != "compare":
            choose(page, "Send")
        choose(page, "Skip")
        assert page.inner_text("h1") == "Nothing to do at the moment"
        assert len(store.judgements.standing()) == 2
        assert not isinstance(said(store)[0], Skip)


def test_a_session_on_a_phone(browser, tmp_path):
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    talk = (Turn("user", "Why is the sea salty? " * 9), Turn("assistant", "W" * 200))
    folder = study(tmp_path / "s", "compare", items(2, ("long " * 80, "short"), talk))
    with served(folder) as (address, store), visited(browser, **phone) as page:
        come_in(page, address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator(".completion").first.scroll_into_view_if_needed()
        for button in page.locator(".answers button").all():
            box = button.bounding_box()
            assert box["y"] + box["height"] <= 740
            assert box["height"] >= 38
        choose(page, "A is better", by="tap")
        choose(page, "Both bad", by="tap")
        assert len(said(store)) == 2


def test_a_session_in_a_language_that_runs_from_right_to_left(browser, tmp_path):
    hebrew = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd (hello)."
    folder = study(tmp_path / "s", "compare", items(1, (hebrew, "Hello"), hebrew), question=hebrew)
    with served(folder) as (address, store), visited(browser) as page:
        come_in(page, address, hebrew[:8])
        direction = "one => getComputedStyle(one).direction"
        assert page.locator("#prompt").evaluate(direction) == "rtl"
        assert page.locator(".question").evaluate(direction) == "rtl"
        directions = page.locator(".completion").evaluate_all(
            "all => all.map(one => getComputedStyle(one).direction)"
        )
        assert sorted(directions) == ["ltr", "rtl"]
        left, right = (card.bounding_box()["x"] for card in page.locator(".card").all())
        assert left < right
        choose(page, f"{upper(page, hebrew)} is better")
        assert said(store) == [Preferred(0)]


def test_a_text_that_would_like_to_be_a_page_is_shown(browser, tmp_path):
    folder = study(tmp_path / "s", "compare", items(1, (EVIL, EVIL), EVIL), title=EVIL)
    with served(folder) as (address, _), visited(browser) as page:
        come_in(page, address, "<b>ann</b>")
        assert "<script>alert(2)</script>" in page.inner_text("#prompt")
        assert "U+202E" in page.inner_text("#prompt")
        page.get_by_role("link", name="About me").click()
        assert "<b>ann</b>" in page.inner_text("main")


def test_what_is_on_the_screen_survives_reload_and_restart(browser, tmp_path):
    folder = study(tmp_path / "s", "compare", items(9, ("a", "b")))
    with visited(browser, restarted=True) as page:
        with served(folder) as (address, store):
            come_in(page, address)
            choose(page, "Equal")
            shown = page.inner_text(".texts")
            page.reload()
            assert page.inner_text(".texts") == shown
            page.wait_for_load_state("networkidle")
        with served(folder, int(address.rpartition(":")[2])) as (address, store):
            page.reload()
            assert page.inner_text(".texts") == shown
            choose(page, "Both bad")
            assert said(store) == [Tie(), BothBad()]


def test_going_back_and_sending_again_counts_once(browser, tmp_path):
    folder = study(tmp_path / "s", "compare", items(3, ("a", "b")))
    with served(folder) as (address, store), visited(browser) as page:
        come_in(page, address)
        choose(page, "Equal")
        lease = store.judgements.all()[0].id
        page.evaluate("lease => { document.querySelector('[name=lease]').value = lease }", lease)
        choose(page, "Both bad")
        assert said(store) == [Tie()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible(browser, scheme):
    with visited(browser, color_scheme=scheme) as page:
        page.route("**/*", as_if_served)
        for at in range(len(EVERY_PAGE)):
            page.goto(f"http://127.0.0.1:1/{at}")
            accessible(page)


def as_if_served(route: Route) -> None:
    """Answers a request for a sample page, by its number, or for a file."""
    path = route.request.url.partition(":1/")[2]
    if path.startswith("static/"):
        route.fulfill(path=STATIC.parent / path)
    else:
        html = render(EVERY_PAGE[int(path)], FRAME)
        route.fulfill(body=html, content_type="text/html", headers=dict(HEADERS))


def accessible(page: Page) -> None:
    """Fails if axe-core finds anything, of whatever impact."""
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]})
    assert found.response["violations"] == [], found.generate_report()
    assert len(found.response["passes"]) > 5
