"""How often somebody may ask: by session and by address. Knows nothing of what is asked."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from text_gym.feedback.refusal import Refusal
from text_gym.feedback.server.sessions import COOKIE

_MOST_REMEMBERED = 10_000


@dataclass(frozen=True)
class Rate:
    """Holds how many requests are let through."""

    per_second: float
    """In the long run,"""
    at_once: int
    """and after a rest."""


OF_SESSION = Rate(10, 60)
OF_ADDRESS = Rate(500, 1000)
"""A whole class may sit behind one address."""


class Buckets:
    """Counts requests: each takes one from a bucket, which time fills again.

    Source: the token bucket of Turner, 1986, "New directions in communications".

    Args:
        rate: At which a bucket fills, and what it holds.
        clock: Returns seconds.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Takes one from somebody's bucket; False if it is empty.

        Example:
            >>> buckets = Buckets(Rate(1, 2), clock=lambda: 0.0)
            >>> [buckets.take("Ann") for _ in range(3)]
            [True, True, False]
        """
        now = self.clock()
        left, at = self._left.pop(key, (float(self.rate.at_once), now))
        left = min(self.rate.at_once, left + (now - at) * self.rate.per_second)
        self._left[key] = (max(left - 1, 0) if left >= 1 else left, now)
        if len(self._left) > _MOST_REMEMBERED:
            self._left.popitem(last=False)
        return left >= 1


class Rates:
    """Refuses who asks too often.

    Args:
        app: What answers otherwise.
        session: Of one session,
        address: and of all that come from one address.
        clock: Returns seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        session: Rate = OF_SESSION,
        address: Rate = OF_ADDRESS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self._sessions, self._addresses = Buckets(session, clock), Buckets(address, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request.

        Raises:
            Refusal: If there were too many.
        """
        if scope["type"] == "http" and not self._lets_through(HTTPConnection(scope)):
            raise Refusal(
                429, "too many requests", "That was very fast. Wait a few seconds, then reload."
            )
        await self.app(scope, receive, send)

    def _lets_through(self, request: HTTPConnection) -> bool:
        address = "" if request.client is None else request.client.host
        session = request.cookies.get(COOKIE)
        return self._addresses.take(address) and (session is None or self._sessions.take(session))
