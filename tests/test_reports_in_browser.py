"""A report in a real browser, from disk: nothing is asked of anybody, and everything can be read.

Needs Chromium on the machine, which `.ci/run` installs; skipped where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from agents.evaluation.comparison import compare
from agents.reports import write_report
from agents.reports.report import report_html
from agents.runs.comparison_figures import Circumstances, Cost
from agents.runs.comparison_report import write_comparison
from agents.runs.outcome import of_evaluations
from agents.runs.run_folder import RunFolder
from agents.runs.run_page import RunPage
from tests.test_comparison import BASE, ONE, TWO
from tests.test_feedback_in_browser import CHROMIUM, accessible
from tests.test_inspection import inspected
from tests.test_reports import EVIL, everything
from tests.test_run_page import ROW, SAMPLE, evaluation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="reports are opened in Chromium: apt-get install chromium"
    ),
]
LARGEST = 2_000_000
"""Bytes of a page that can be sent to a colleague."""
SMALL_PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Reports whose every text would like to be a page, one of many policies, and a run's page."""
    folder = tmp_path_factory.mktemp("reports")
    names = [f"a run with a rather long name, number {number}" for number in range(9)]
    found = compare(dict(zip(names, [BASE, ONE, TWO] * 3, strict=True)))
    how = Circumstances(
        [("Reward", "sentiment")],
        {name: Cost("ppo", 640, 61.5) for name in names},
        "an independent model",
        dict.fromkeys(names, 41.5),
    )
    return [
        write_report(folder / "evil", EVIL, everything(EVIL), {}),
        write_comparison(folder / "many", found, how),
        write_report(folder / "inspected", EVIL, inspected(EVIL), {}),
        run_page_of(folder / "run"),
    ]


def run_page_of(folder: Path) -> Path:
    folder.mkdir()
    (folder / "samples.jsonl").write_text(SAMPLE)
    record = RunFolder(folder)
    record.history += [{**ROW, "episodes": 8 * update} for update in range(1, 4)]
    page = RunPage(record, EVIL, {"reward": EVIL})
    evaluated = {"before": evaluation(EVIL, 0.0), EVIL: evaluation(EVIL, 1.0)}
    page.finish([of_evaluations(evaluated, EVIL)])
    return page.path


def opened(browser: Browser, path: Path, **settings: object) -> tuple[Page, list[str]]:
    """Opens a page from disk; returns it with everything that was asked for, or went wrong."""
    page = browser.new_context(**settings).new_page()
    heard: list[str] = []
    page.on("request", lambda one: heard.append(one.url))
    page.on("dialog", lambda one: (heard.append(one.message), one.dismiss()))
    page.on("pageerror", lambda one: heard.append(str(one)))
    page.on("console", lambda one: heard.append(one.text))
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    return page, heard


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_asks_for_nothing_but_itself_and_is_accessible(
    browser: Browser, reports: list[Path], scheme: str
) -> None:
    for path in reports:
        assert path.stat().st_size < LARGEST
        page, heard = opened(browser, path, color_scheme=scheme)
        assert heard == [path.as_uri()]
        assert page.locator("figure svg").first.bounding_box()["width"] > 200
        accessible(page)


def test_a_page_is_kept_current_until_its_reader_says_no(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_text(report_html("one", [], refresh=1))
    page, heard = opened(browser, path)
    path.write_text(report_html("two", [], refresh=1))
    expect(page).to_have_title("two")
    page.locator("#current").uncheck()
    accessible(page)
    path.write_text(report_html("three", [], refresh=1))
    page.wait_for_timeout(1500)
    assert page.title() == "two"
    assert set(heard) == {path.as_uri()}


def test_light_and_dark_differ(browser: Browser, reports: list[Path]) -> None:
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    light, dark = (
        opened(browser, reports[0], color_scheme=scheme)[0].evaluate(paper)
        for scheme in ("light", "dark")
    )
    assert light != dark


def test_it_fits_a_phone(browser: Browser, reports: list[Path]) -> None:
    for path in reports:
        page, _ = opened(browser, path, viewport=SMALL_PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= SMALL_PHONE["width"]


def test_paper_is_white_and_nothing_is_cut_off(browser: Browser, reports: list[Path]) -> None:
    """A4 with the margins of the style sheet is 180 mm wide, 680 CSS pixels."""
    sheet = {"width": 680, "height": 1000}
    for path in reports:
        page, _ = opened(browser, path, color_scheme="dark", viewport=sheet)
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        assert page.locator("nav").is_hidden()
        widths = page.locator("table").evaluate_all("all => all.map(one => one.scrollWidth)")
        assert max(widths) <= 680
        assert page.pdf(format="A4")[:4] == b"%PDF"


def test_a_token_tells_its_numbers_and_is_coloured_by_what_is_chosen(
    browser: Browser, reports: list[Path]
) -> None:
    page, _ = opened(browser, reports[2])
    token = page.locator(".inspected .token").first
    tip = token.locator(".tip")
    colour = "one => getComputedStyle(one).backgroundColor"
    assert tip.is_hidden()
    orange = token.evaluate(colour)
    token.focus()
    assert tip.is_visible()
    assert "log-ratio −0.5" in tip.inner_text().replace("\n", " ")
    page.get_by_label("reward share").check()
    assert token.evaluate(colour) != orange
    assert page.locator("#token-scale-0").is_hidden()
    assert page.locator("#token-scale-1").is_visible()


def test_the_colours_of_tokens_are_printed(browser: Browser, reports: list[Path]) -> None:
    page, _ = opened(browser, reports[2], color_scheme="dark")
    page.emulate_media(media="print")
    token = page.locator(".inspected .token").first
    assert token.evaluate("one => getComputedStyle(one).printColorAdjust") == "exact"
    assert page.locator(".inspected fieldset").is_hidden()
    lightness = "one => Math.max(...getComputedStyle(one).backgroundColor.match(/\\d+/g))"
    assert token.evaluate(lightness) > 200  # of the scheme for white paper
