"""By which names the server may be called, and from which pages forms may come.

A name of one's own that points to 127.0.0.1 would let a foreign page read this one; a foreign page
could send a form in somebody's name. Knows nothing of forms' contents: see `sessions`.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from text_gym.feedback.refusal import Refusal
from text_gym.quoting import quoted

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
ANY = "*"
_READ_ONLY = ("GET", "HEAD", "OPTIONS")


class Hosts:
    """Refuses what was meant for another server, or comes from another server's page.

    Args:
        app: What answers otherwise.
        names: Of this server, without ports; "*" for whatever the request says.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = LOOPBACK) -> None:
        self.app = app
        self.names = {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request.

        Raises:
            Refusal: If it is not for this server, or not from it.
        """
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if ANY not in self.names and _name(headers.get("host", "")) not in self.names:
                raise Refusal(
                    421, f"unknown host {quoted(headers.get('host', ''))}",
                    "This server is not known by the name under which you called it.",
                )  # fmt: skip
            if scope["method"] not in _READ_ONLY and _is_foreign(headers):
                raise Refusal(403, "foreign page", "This form was sent from another site's page.")
        await self.app(scope, receive, send)


def _name(host: str) -> str:
    """Returns a host without its port.

    Example:
        >>> _name("Localhost:8000"), _name("[::1]:8000"), _name("[::1]")
        ('localhost', '[::1]', '[::1]')
    """
    name, separator, port = host.lower().rpartition(":")
    return name if separator and port.isdigit() else host.lower()


def _is_foreign(headers: Headers) -> bool:
    """Tells whether the browser says that another site's page sent this."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host", "")
