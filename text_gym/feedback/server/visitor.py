"""What every page needs to know: the study that is served, and who asks for the page.

Knows no page.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from text_gym.feedback.access import Access
from text_gym.feedback.annotators import Annotator
from text_gym.feedback.participation import Participation
from text_gym.feedback.refusal import Refusal
from text_gym.feedback.server.pages import Frame, Page, render
from text_gym.feedback.server.sessions import Session, session_of
from text_gym.feedback.store import Store
from text_gym.feedback.study import Study


@dataclass(frozen=True)
class Served:
    """Holds what is served."""

    study: Study
    store: Store
    participation: Participation
    access: Access
    is_open: bool
    """Whoever reaches the server may take part."""
    address: str
    """Under which people reach the server, without a slash at the end."""


class Visitor:
    """Who asks for a page, and what they sent.

    Args:
        served: The study.
        request: Of the visitor.
        form: What they sent; empty if they only ask.
    """

    def __init__(self, served: Served, request: Request, form: FormData | None) -> None:
        self.served = served
        self.request = request
        self.session: Session = session_of(request)
        self.form = {} if form is None else {k: v for k, v in form.items() if isinstance(v, str)}

    @property
    def annotator(self) -> Annotator | None:
        """Who is signed in, if anybody."""
        return self.served.access.signed_in(self.session.token)

    @property
    def is_admin(self) -> bool:
        """Whether the researcher is signed in."""
        return self.served.access.is_admin(self.session.token)

    def require_annotator(self) -> Annotator:
        """Returns who is signed in.

        Raises:
            Refusal: If nobody is.
        """
        annotator = self.annotator
        if annotator is None:
            raise Refusal(
                401, "not signed in", "You are not signed in. Open the link that you were given."
            )
        return annotator

    def require_admin(self) -> None:
        """Checks that the researcher is signed in.

        Raises:
            Refusal: If not.
        """
        if not self.is_admin:
            raise Refusal(401, "not the researcher", "This page is for the researcher.")

    def sign_in(self, annotator: Annotator) -> None:
        """Makes this visitor's session somebody's, under a new token."""
        self.sign_out()
        self.served.access.sign_in(self.session.renew(), annotator)

    def sign_in_admin(self) -> None:
        """Makes this visitor's session the researcher's, under a new token."""
        self.sign_out()
        self.served.access.sign_in_admin(self.session.renew())

    def sign_out(self) -> None:
        """Ends this visitor's session."""
        self.served.access.sign_out(self.session.token)
        self.session.renew()

    def show(self, page: Page, status: int = 200) -> HTMLResponse:
        """Returns a page as it is for this visitor."""
        annotator = self.annotator
        config = self.served.study.config
        frame = Frame(
            study=config.title,
            csrf=self.session.csrf,
            pseudonym="" if annotator is None else annotator.pseudonym,
            is_admin=self.is_admin,
            contact=config.contact,
        )
        return HTMLResponse(render(page, frame), status)


def go_to(address: str) -> RedirectResponse:
    """Returns the answer to a form that was accepted: a page to be read, which may be reloaded."""
    return RedirectResponse(address, 303)
