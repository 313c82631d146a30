"""How the site is built: `make docs`.

The pages lie in this folder as GitHub shows them. Added to them when a build begins, into folders
that git ignores: the reference, a page for each environment, reward and wrapper, and copies of the
pages that stand at the top of the repository. Nothing that is built asks another host for anything.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from docs._scripts import (  # noqa: E402
    accessible_pages,
    environment_pages,
    markdown_docstrings,
    reference_pages,
    repository_pages,
)

project = "text_gym"
author = copyright = "text_gym contributors"
html_title = "text_gym"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_use_index = False
html_domain_indices = False
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_scripts", "_static"]
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Fields are documented where they are declared.
napoleon_use_ivar = True
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

nitpicky = True
# A link to a name of ours must lead somewhere; other libraries' pages are not ours to link to, and
# type hints name more than is public.
nitpick_ignore_regex = [(r"py:(class|data|exc|meth|func|attr)", r".*")]

CHILDREN = {
    "algorithms/README": ["*"],
    "applications/README": ["*"],
    "decisions/README": ["*"],
    "tutorials/README": [
        "first_environment",
        "own_reward",
        "own_task",
        "exact_optimum",
        "from_sft_to_ppo",
        "collecting_feedback",
        "reading_a_run",
        "other_loops",
    ],
}
"""The pages below a page, which GitHub's reader finds by its links."""


def write_pages(app: Sphinx) -> None:
    """Writes the pages that are made when a build begins."""
    repository_pages.write(DOCS)
    reference_pages.write(DOCS)
    environment_pages.write(DOCS)


def complete(app: Sphinx, page: str, source: list[str]) -> None:
    """Points a page's links at the site, and adds the list of the pages below it."""
    source[0] = repository_pages.with_links(source[0], f"docs/{page}.md", f"{page}.md")
    if page in CHILDREN:
        entries = "\n".join(CHILDREN[page])
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n:glob:\n\n{entries}\n```\n"


def make_accessible(app: Sphinx, page: str, template: str, context: Any, tree: Any) -> None:
    """Completes a page before it is written."""
    accessible_pages.complete(context)


def setup(app: Sphinx) -> None:
    """Connects what is ours to the build."""
    app.connect("builder-inited", write_pages)
    app.connect("source-read", complete)
    app.connect("html-page-context", make_accessible, priority=900)  # after the theme
    # Before napoleon, which reads what this leaves.
    app.connect("autodoc-process-docstring", markdown_docstrings.process, priority=400)
