"""How a request is refused: one page that says why, one line of the log.

Knows nothing of the rules by which it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from text_gym.feedback.refusal import Refusal
from text_gym.quoting import quoted

LOG = logging.getLogger("text_gym.feedback.server")

_BEFORE_SECRETS = ("/link/", "/crowd/")
"""What stands in a path before something that nobody should read in a log."""

BROKEN = Refusal(
    500, "error", "Something went wrong here, not with you. What you sent before is kept."
)


class Refusals:
    """Turns a `Refusal` into a page and a line; an error of ours into a page, and raises it on.

    Stands outside of all other guards and within Starlette's own, as the application's middleware.

    Args:
        app: What answers otherwise.
        page: Returns the HTML of a refusal.
    """

    def __init__(self, app: ASGIApp, page: Callable[[Refusal], str]) -> None:
        self.app = app
        self.page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Refusal as refusal:
            if started or scope["type"] != "http":
                raise
            LOG.warning("%s", line_of(refusal, HTTPConnection(scope)))
            await self._answer(refusal, scope, receive, send)
        except Exception:
            if not started and scope["type"] == "http":
                await self._answer(BROKEN, scope, receive, send)
            raise

    async def _answer(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        # What is left of a refused body is never read, so the connection is of no further use.
        close = {"Connection": "close"} if refusal.status in (408, 413) else {}
        response = HTMLResponse(self.page(refusal), refusal.status, headers=close)
        await response(scope, receive, send)


def line_of(refusal: Refusal, request: HTTPConnection) -> str:
    r"""Returns what the log says of a refusal; whatever the other side sent is quoted.

    The path is cut where a secret may begin.

    Example:
        >>> scope = {"type": "http", "method": "GET", "path": "/a\n\x1b[1m", "headers": [],
        ...     "client": ("10.0.0.1", 80)}
        >>> line_of(Refusal(404, "no such page", ""), HTTPConnection(scope))
        "refused 404 (no such page): GET '/a\\n\\x1b[1m' from 10.0.0.1"
    """
    path = request.scope["path"]
    for before in _BEFORE_SECRETS:
        if path.startswith(before):
            path = f"{before}..."
    address = "nowhere" if request.client is None else request.client.host
    method = request.scope["method"]
    return f"refused {refusal.status} ({refusal.rule}): {method} {quoted(path)} from {address}"
