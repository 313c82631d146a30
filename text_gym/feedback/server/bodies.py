"""How large and how slow a request may be. Knows nothing of what is in it."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from text_gym.feedback.refusal import Refusal

MOST_BYTES = 256 * 1024
MOST_SECONDS = 10.0


class Bodies:
    """Reads the whole body before anything else happens, so that nothing waits for a slow one.

    Args:
        app: What answers.
        most_bytes: Of a body.
        most_seconds: From its first byte to its last.
    """

    def __init__(
        self, app: ASGIApp, most_bytes: int = MOST_BYTES, most_seconds: float = MOST_SECONDS
    ) -> None:
        self.app = app
        self.most_bytes = most_bytes
        self.most_seconds = most_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request.

        Raises:
            Refusal: If the body is too large or too slow.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdigit() or int(length) > self.most_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.most_seconds):
                body = await self._read(receive)
        except TimeoutError as error:
            raise Refusal(408, "slow body", "The request took too long to arrive.") from error
        if body is not None:
            await self.app(scope, _replayed(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """Returns the body; None if the other side went away."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self.most_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> Refusal:
        return Refusal(
            413, "large body",
            f"The request is too large: at most {self.most_bytes:,} bytes can be sent at once.",
        )  # fmt: skip


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Returns what gives the body once, then whatever follows it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
