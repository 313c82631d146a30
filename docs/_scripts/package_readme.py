"""The README as the package index shows it: what it links to stands in the repository.

    python -m docs._scripts.package_readme OWNER/NAME TAG

rewrites `README.md`, in the checkout that a release is built from. Knows where files of a tag are
served; nothing of what the README says.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docs._scripts.repository_pages import LINK

README = Path(__file__).parents[2] / "README.md"
SOURCE = re.compile(r'\b(src|srcset)="(?!https?:)([^"]+)"')


def with_addresses(text: str, repository: str, tag: str) -> str:
    """Returns a page of the repository's top whose links and pictures have full addresses.

    Args:
        text: Of the page.
        repository: `owner/name`, on GitHub.
        tag: Or branch, of which the files are shown.

    Example:
        >>> with_addresses("[b](b.md#c) [d](#e)", "me/it", "v1")
        '[b](https://github.com/me/it/blob/v1/b.md#c) [d](#e)'
    """
    page = f"https://github.com/{repository}/blob/{tag}/"
    file = f"https://raw.githubusercontent.com/{repository}/{tag}/"

    def addressed(link: re.Match[str]) -> str:
        is_picture = text[link.start() - 1 : link.start()] == "!"
        return f"[{link[1]}]({file if is_picture else page}{link[2]}{link[3] or ''})"

    return SOURCE.sub(rf'\1="{file}\2"', LINK.sub(addressed, text))


if __name__ == "__main__":
    README.write_text(with_addresses(README.read_text("utf-8"), *sys.argv[1:]), "utf-8")
