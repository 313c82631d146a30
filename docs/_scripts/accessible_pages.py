"""What keyboards and screen readers need of a page, and the theme leaves out.

Knows the HTML that Sphinx and furo write; nothing of what the pages say.
"""

from __future__ import annotations

import re
from typing import Any

SIGNATURE = re.compile(r"<dl>\n(.*?)</dl>", flags=re.DOTALL)
"""The arguments of a long signature: a list of definitions, of which none defines anything."""


def complete(context: dict[str, Any]) -> None:
    """Completes what a page is made of, in place."""
    navigation = context["furo_navigation_tree"]
    context["furo_navigation_tree"] = with_levels(navigation)
    if "body" in context:
        context["body"] = with_reachable_code(with_signatures(context["body"]))


def with_levels(navigation: str) -> str:
    """Returns a navigation that says at which level its headings are.

    Example:
        >>> with_levels('<p role="heading">Here</p>')
        '<p role="heading" aria-level="2">Here</p>'
    """
    return navigation.replace('role="heading"', 'role="heading" aria-level="2"')


def with_signatures(body: str) -> str:
    r"""Returns a page whose long signatures are lines.

    Example:
        >>> with_signatures("f(<dl>\n<dd>a,</dd></dl>)")
        'f(<span class="sig-lines"><span class="sig-line">a,</span></span>)'
    """

    def lines(found: re.Match[str]) -> str:
        each = found[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
        return f'<span class="sig-lines">{each}</span>'

    return SIGNATURE.sub(lines, body)


def with_reachable_code(body: str) -> str:
    """Returns a page whose code can be scrolled from the keyboard.

    Example:
        >>> with_reachable_code("<pre>wide</pre>")
        '<pre tabindex="0">wide</pre>'
    """
    return body.replace("<pre>", '<pre tabindex="0">')
