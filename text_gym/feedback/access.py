"""Who may come in: secret links, crowd workers, the researcher; and who is signed in.

Only hashes of what people hold are kept. Knows nothing of cookies, addresses and pages.
"""

from __future__ import annotations

import base64
import hmac
import math
import time
from collections.abc import Callable, Mapping

from text_gym.feedback.annotators import Annotator
from text_gym.feedback.refusal import Refusal
from text_gym.feedback.store import Store

ADMIN = "admin"
"""Stands for the researcher where an annotator's id would stand: those are hexadecimal."""

LINK_DAYS, SESSION_DAYS, ADMIN_SESSION_DAYS = 90.0, 30.0, 1.0
_DAY = 24 * 3600.0

PLATFORMS: Mapping[str, str] = {"workerId": "mturk", "PROLIFIC_PID": "prolific"}
"""How a platform calls the worker in the address, and what we call the platform."""

_PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"
_LONGEST_WORKER = 200


class Access:
    """Lets people in.

    Args:
        store: The rows.
        clock: Returns the seconds since 1970.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self.clock = clock
        self._secret = store.tokens.secret()

    # Links

    def invite(self, annotator: Annotator, days: float = LINK_DAYS) -> str:
        """Returns the secret part of a new link; the earlier ones of that person end."""
        self.store.tokens.revoke_all(annotator.id, "link")
        return self.store.tokens.issue("link", annotator.id, self._in(days))

    def invited(self, token: str) -> Annotator:
        """Returns whose link it is.

        Raises:
            Refusal: If it is nobody's, or too old.
        """
        held = self.store.tokens.held(token, "link")
        annotator = None if held is None else self.store.annotators.get(held.holder)
        if held is None or annotator is None:
            raise Refusal(
                403, "unknown link",
                "This link is not valid. Was it copied whole? If so, ask for a new one.",
            )  # fmt: skip
        if held.expires_at <= self.clock():
            raise Refusal(403, "expired link", "This link is too old. Please ask for a new one.")
        return annotator

    # The crowd

    def crowd_link(self) -> str:
        """Returns the secret part of the link that is entered at a platform, always the same."""
        return self._sign("crowd link")

    def worker_of(self, token: str, parameters: Mapping[str, str]) -> str:
        """Returns who a platform says is coming: its name and the worker's id.

        Raises:
            Refusal: If the link is not ours, or says nobody, as in Mechanical Turk's preview.
        """
        if not hmac.compare_digest(token.encode(), self.crowd_link().encode()):
            raise Refusal(403, "unknown link", "This link is not valid.")
        if parameters.get("assignmentId") == _PREVIEW:
            raise Refusal(
                403,
                "preview",
                "This is a preview. Accept the task first, then open the link again.",
            )
        for name, platform in PLATFORMS.items():
            if 0 < len(parameters.get(name, "")) <= _LONGEST_WORKER:
                return f"{platform} {parameters[name]}"
        raise Refusal(
            403, "no worker",
            "The link does not say who is coming. Open it from the page of the task.",
        )  # fmt: skip

    def admit_worker(self, worker: str) -> Annotator:
        """Returns the annotator that a worker is, the same whenever they come.

        The worker's id is not kept, but for a keyed hash that knows it again.
        """
        token = self._sign(f"worker {worker}")
        with self.store.transaction():
            held = self.store.tokens.held(token, "worker")
            known = None if held is None else self.store.annotators.get(held.holder)
            if known is not None:
                return known
            annotator = self.store.annotators.add(f"worker {token[:10]}", came_by="crowd")
            self.store.tokens.register(token, "worker", annotator.id, math.inf)
            return annotator

    def completion_code(self, annotator: Annotator) -> str:
        """Returns what a worker enters at the platform: nobody else's, and not to be guessed."""
        digest = hmac.digest(self._secret, f"code {annotator.id}".encode(), "sha256")
        return base64.b32encode(digest)[:10].decode()

    # The researcher

    def admin_token(self) -> str:
        """Returns the researcher's token, always the same."""
        return self._sign("admin token")

    def is_admin_token(self, token: str) -> bool:
        """Tells whether that is the researcher's token."""
        return hmac.compare_digest(token.encode(), self.admin_token().encode())

    # Sessions

    def sign_in(self, session: str, annotator: Annotator) -> None:
        """Makes a session somebody's; it must be new."""
        self.store.tokens.register(session, "session", annotator.id, self._in(SESSION_DAYS))

    def sign_in_admin(self, session: str) -> None:
        """Makes a session the researcher's; it must be new."""
        self.store.tokens.register(session, "session", ADMIN, self._in(ADMIN_SESSION_DAYS))

    def signed_in(self, session: str) -> Annotator | None:
        """Returns whose session it is; None if nobody's, the researcher's, or over."""
        holder = self._holder(session)
        return None if holder is None else self.store.annotators.get(holder)

    def is_admin(self, session: str) -> bool:
        """Tells whether a session is the researcher's."""
        return self._holder(session) == ADMIN

    def sign_out(self, session: str) -> None:
        """Ends a session."""
        self.store.tokens.revoke(session)

    def _holder(self, session: str) -> str | None:
        held = self.store.tokens.held(session, "session")
        return held.holder if held is not None and held.expires_at > self.clock() else None

    def _in(self, days: float) -> float:
        return self.clock() + days * _DAY

    def _sign(self, text: str) -> str:
        return hmac.digest(self._secret, text.encode(), "sha256").hex()
