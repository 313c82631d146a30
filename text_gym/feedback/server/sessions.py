"""Who asks: a cookie, and the secret in every form that proves a page of ours was read.

A visitor has a session from the first page on, so that the form which signs in is protected too;
signing in renews it, so that nobody can be made to sign in to a session that another one knows.
Knows nothing of what a session is good for: see `text_gym.feedback.store.tokens`.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass

import python_multipart  # noqa: F401  # starlette needs it, and would say so at the first form
from starlette.datastructures import FormData, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from text_gym.feedback.refusal import Refusal

COOKIE = "session"
FIELD = "csrf"
SECONDS = 30 * 24 * 3600
"""How long a browser keeps a session."""

_FORM = "application/x-www-form-urlencoded"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass
class Session:
    """Holds what a visitor's cookie says, and what it will say after this response."""

    token: str
    secret: bytes

    def renew(self) -> str:
        """Draws a new token, and returns it; the old one is good for nothing."""
        self.token = secrets.token_urlsafe(32)
        return self.token

    @property
    def csrf(self) -> str:
        """What every form has to send back: not to be guessed without the study's secret."""
        return hmac.digest(self.secret, b"form " + self.token.encode(), "sha256").hex()


class Sessions:
    """Gives every visitor a session, as `scope["session"]`, and keeps it in a cookie.

    Args:
        app: What answers.
        secret: Of the study; never leaves it.
        secure: Whether people come by TLS alone.
    """

    def __init__(self, app: ASGIApp, secret: bytes, *, secure: bool = False) -> None:
        self.app = app
        self.secret = secret
        self.secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = HTTPConnection(scope).cookies.get(COOKIE, "")
        session = Session(sent, self.secret)
        if not _TOKEN.fullmatch(sent):
            session.renew()
        scope["session"] = session

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and session.token != sent:
                MutableHeaders(scope=message).append("Set-Cookie", self._cookie(session))
            await send(message)

        await self.app(scope, receive, send_with_cookie)

    def _cookie(self, session: Session) -> str:
        secure = "; Secure" if self.secure else ""
        return (
            f"{COOKIE}={session.token}; Path=/; Max-Age={SECONDS}; HttpOnly; "
            f"SameSite=Strict{secure}"
        )


def session_of(request: HTTPConnection) -> Session:
    """Returns the session of who asks."""
    session: Session = request.scope["session"]
    return session


async def form_of(request: Request) -> FormData:
    """Returns the form that was sent.

    Raises:
        Refusal: If it is no form, or none that this server gave to this visitor.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Refusal(415, "not a form", "Only the forms of these pages can be sent here.")
    form = await request.form()
    given = str(form.get(FIELD, ""))
    if not hmac.compare_digest(given.encode(), session_of(request).csrf.encode()):
        raise Refusal(
            403, "forged form",
            "This page is too old to be sent, or it is not one of ours. Go back, reload it and try "
            "again. Cookies must be allowed.",
        )  # fmt: skip
    return form
