"""The documentation is built without a warning, is whole, and asks nobody for anything.

Knows the site by its files alone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.test_architecture import modules_of
from tests.test_feedback_in_browser import CHROMIUM, accessible

ROOT = Path(__file__).parents[1]
LARGEST_PAGE, LARGEST_ANIMATION = 200_000, 100_000
KINDS = (
    "index", "search", "getting_started", "tutorials/own_reward", "environments/TextGen",
    "wrappers/Feedback", "algorithms/ppo", "reference/agents/PPO", "benchmarks/README",
)  # fmt: skip
"""A page of each kind."""
MADE = ("benchmarks", "environments", "project", "reference", "rewards", "wrappers")


@pytest.mark.slow
def test_the_site_is_whole(tmp_path: Path) -> None:
    site = built(tmp_path)
    pages = sorted(site.rglob("*.html"))
    assert sorted(set(public_names()) - documented_names(site)) == []
    assert [(page.name, url) for page in pages for url in loaded_by(page) if is_remote(url)] == []
    assert [css for css in site.rglob("*.css") if "url(http" in css.read_text("utf-8")] == []
    assert [page.name for page in pages if page.stat().st_size > LARGEST_PAGE] == []
    animations = [*site.rglob("*.gif")]
    assert animations
    assert [one.name for one in animations if one.stat().st_size > LARGEST_ANIMATION] == []
    if CHROMIUM is not None:
        look_at(site, CHROMIUM)


def test_every_page_has_its_place_in_the_navigation() -> None:
    listed = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    top = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert sorted(top - set(listed)) == []


def look_at(site: Path, chromium: str) -> None:
    """Fails if a page of some kind is not accessible, light or dark."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for kind, scheme in product(KINDS, ("light", "dark")):
            page = browser.new_context(color_scheme=scheme).new_page()
            page.goto((site / f"{kind}.html").as_uri())
            accessible(page)
        browser.close()


def written_pages() -> list[Path]:
    """Returns the pages that somebody wrote, without those that a build adds."""
    docs = ROOT / "docs"
    return [page for page in docs.rglob("*.md") if page.relative_to(docs).parts[0] not in MADE]


def built(folder: Path) -> Path:
    """Builds the site beside a copy of the pages, so that none appears in the repository."""
    ignored = shutil.ignore_patterns(*MADE, "__pycache__")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=ignored)
    for name in (
        "agents",
        "benchmarks",
        "text_gym",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "README.md",
    ):
        (folder / name).symlink_to(ROOT / name)
    arguments = ("-q", "-W", "--keep-going", "docs", "site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def public_names() -> Iterator[str]:
    for package in ("text_gym", "agents"):
        for module in modules_of(package):
            for name in getattr(module, "__all__", ()):
                yield f"{module.__name__}.{name}"


def documented_names(site: Path) -> set[str]:
    """Reads the names from the inventory that Sphinx leaves for other projects."""
    head, _, packed = (site / "objects.inv").read_bytes().partition(b"zlib.\n")
    assert head
    lines = zlib.decompress(packed).decode("utf-8").splitlines()
    return {line.split(" ", 1)[0] for line in lines if " py:" in line}


class Loaded(HTMLParser):
    """Collects what a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = "href" if tag == "link" else "src"
        if tag != "a":
            self.urls += [value for name, value in attrs if name == named and value]


def loaded_by(page: Path) -> list[str]:
    parser = Loaded()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.urls


def is_remote(url: str) -> bool:
    return re.match(r"(https?:)?//", url) is not None
