"""A web page as a browser without JavaScript has it: its texts, and its forms.

Knows HTML and nothing of studies; of HTML it knows what forms are made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

Attributes = Mapping[str, str]

_VOID = {
    "area",
    "base",
    "br",
    "col",
    "embed",
    "hr",
    "img",
    "input",
    "link",
    "meta",
    "source",
    "wbr",
}
"""Elements that have no end."""


@dataclass
class Form:
    """Holds a form."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    """What it sends as it stands, by name: hidden fields, texts, what is checked or selected."""
    choices: dict[str, list[str]] = field(default_factory=dict)
    """What may be chosen, by name: radio buttons, check boxes, options, buttons."""


@dataclass
class Element:
    """Holds an element that has an id or a class."""

    tag: str
    attributes: Attributes
    text: str = ""


@dataclass(frozen=True)
class Page:
    """Holds a page."""

    url: str
    status: int
    forms: Sequence[Form]
    elements: Sequence[Element]

    def text(self, name: str) -> str:
        """Returns the text of the element of an id.

        Raises:
            KeyError: If there is none.
        """
        for element in self.elements:
            if element.attributes.get("id") == name:
                return element.text
        raise KeyError(name)

    def of_class(self, name: str) -> list[Element]:
        """Returns the elements of a class, in order."""
        return list(self._of_class(name))

    def form_with(self, field: str) -> Form | None:
        """Returns the first form that has a field or a choice of that name."""
        for form in self.forms:
            if field in form.fields or field in form.choices:
                return form
        return None

    def _of_class(self, name: str) -> Iterator[Element]:
        for element in self.elements:
            if name in element.attributes.get("class", "").split():
                yield element


def parse_page(url: str, status: int, html: str) -> Page:
    """Returns the page that HTML describes.

    Example:
        >>> page = parse_page("/", 200, '<form action="/in"><input name="who" value="Ann"></form>')
        >>> page.forms
        [Form(action='/in', method='get', fields={'who': 'Ann'}, choices={})]
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return Page(url, status, reader.forms, reader.elements)


class _Reader(HTMLParser):
    """Reads forms and texts, element by element."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[Form] = []
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self._form: Form | None = None
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens an element."""
        attributes = {name: value or "" for name, value in attrs}
        element = Element(tag, attributes)
        if "id" in attributes or "class" in attributes:
            self.elements.append(element)
        if tag == "form":
            self._form = Form(attributes.get("action", ""), attributes.get("method", "get").lower())
            self.forms.append(self._form)
        elif tag == "select":
            self._select = attributes.get("name", "")
        elif self._form is not None:
            _note_control(self._form, tag, attributes, self._select)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        """Closes the innermost element of that name, and whatever was left open inside it."""
        while any(element.tag == tag for element in self._open):
            closed = self._open.pop()
            if closed.tag == "textarea" and self._form is not None:
                name = closed.attributes.get("name", "")
                self._form.fields[name] = closed.text.removeprefix("\n")
            if closed.tag == tag:
                break
        if tag == "form":
            self._form = None
        if tag == "select":
            self._select = ""

    def handle_data(self, data: str) -> None:
        """Adds text to all elements that are open."""
        for element in self._open:
            element.text += data


def _note_control(form: Form, tag: str, attributes: Attributes, select: str) -> None:
    """Enters a control of a form: what it sends as it stands, or what may be chosen."""
    name, value = attributes.get("name", select), attributes.get("value", "")
    kind = attributes.get("type", "text" if tag == "input" else "submit")
    if not name or "disabled" in attributes:
        return
    if tag == "option" or kind in ("radio", "checkbox"):
        form.choices.setdefault(name, []).append(value)
        if "checked" in attributes or "selected" in attributes:
            form.fields[name] = value
    elif kind == "submit" and tag in ("button", "input"):
        form.choices.setdefault(name, []).append(value)
    elif tag == "input":
        form.fields[name] = value
