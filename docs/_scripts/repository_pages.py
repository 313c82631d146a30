"""Pages that stand elsewhere in the repository, as pages of the site; links that lead out of it.

Knows where files lie; nothing of what they say.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

PAGES = {
    "benchmarks/README.md": "benchmarks/README.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
}
"""The site's page for a file of the repository."""

HOME = {"README.md": "index.md"}
IMAGES = (".png", ".svg")
PART = re.compile(r"^### ", flags=re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")


def write(docs: Path) -> None:
    """Writes the copies."""
    for file, page in PAGES.items():
        text = (docs.parent / file).read_text(encoding="utf-8")
        (docs / page).parent.mkdir(exist_ok=True)
        (docs / page).write_text(with_links(text, file, page), encoding="utf-8")
    _divide(docs / PAGES["benchmarks/README.md"])


def _divide(page: Path) -> None:
    """Gives each part of a long page, from one heading of the third level on, a page of its own."""
    first, *parts = PART.split(page.read_text(encoding="utf-8"))
    names = [part.partition("\n")[0] for part in parts]
    for name, part in zip(names, parts, strict=True):
        (page.parent / f"{name}.md").write_text(f"# {part}", encoding="utf-8")
    links = "\n".join(f"- [{name}]({name}.md)" for name in names)
    entries = "\n".join(names)
    listed = f"{first}{links}\n\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"
    page.write_text(listed, encoding="utf-8")


def with_links(text: str, file: str, page: str) -> str:
    """Returns a page whose links lead to pages of the site.

    A link to a file that has no page leads to the repository if a build knows its address
    (`GITHUB_REPOSITORY`), and otherwise becomes the text that it was.

    Args:
        text: Of the page.
        file: Where it stands in the repository, from which its links are followed.
        page: Where it stands on the site, below `docs`.
    """

    def replaced(link: re.Match[str]) -> str:
        label, target, anchor = link[1], link[2], link[3] or ""
        path = os.path.normpath(PurePosixPath(file).parent / target)
        image = text[link.start() - 1 : link.start()] == "!"
        if image or path.startswith("docs/") or path in PAGES | HOME:
            place = (PAGES | HOME).get(path, os.path.relpath(path, "docs"))
            return f"[{label}]({os.path.relpath(place, PurePosixPath(page).parent)}{anchor})"
        repository = os.environ.get("GITHUB_REPOSITORY")
        known = f"[{label}](https://github.com/{repository}/blob/main/{path}{anchor})"
        return known if repository else label

    return LINK.sub(replaced, text)
