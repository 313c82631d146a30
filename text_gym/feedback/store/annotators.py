"""The annotators of a study and what happened to them. Knows nothing of links and sessions."""

from __future__ import annotations

import secrets
import time
from typing import Any

from text_gym.feedback.annotators import Annotator, Event, EventKind, Role
from text_gym.feedback.store.database import Database
from text_gym.quoting import quoted

_COLUMNS = "id, pseudonym, role, weight, came_by"


class Annotators:
    """Keeps who judges, and the events that admit, stop or leave out a person."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, pseudonym: str, role: Role = "annotator", weight: float = 1.0, came_by: Any = "link"
    ) -> Annotator:
        """Adds a person.

        Raises:
            ValueError: If somebody else has that pseudonym.
        """
        annotator = Annotator(secrets.token_hex(8), pseudonym, role, weight, came_by)
        self.register(annotator)
        return annotator

    def register(self, one: Annotator) -> None:
        """Adds a person who has an id already.

        Raises:
            ValueError: If somebody else has that pseudonym.
        """
        with self._database.transaction():
            if self.named(one.pseudonym) is not None:
                raise ValueError(f"a pseudonym must be nobody else's, got {quoted(one.pseudonym)}")
            self._database.write(
                f"INSERT INTO annotators ({_COLUMNS}, added_at) VALUES (?, ?, ?, ?, ?, ?)",
                one.id, one.pseudonym, one.role, one.weight, one.came_by, time.time(),
            )  # fmt: skip

    def get(self, annotator: str) -> Annotator | None:
        """Returns a person by id, or None: they may have asked to be forgotten."""
        row = self._database.first(f"SELECT {_COLUMNS} FROM annotators WHERE id = ?", annotator)
        return None if row is None else Annotator(*row)

    def named(self, pseudonym: str) -> Annotator | None:
        """Returns a person by pseudonym, or None."""
        row = self._database.first(
            f"SELECT {_COLUMNS} FROM annotators WHERE pseudonym = ?", pseudonym
        )
        return None if row is None else Annotator(*row)

    def all(self) -> list[Annotator]:
        """Returns everybody, in the order in which they came."""
        rows = self._database.all(f"SELECT {_COLUMNS} FROM annotators ORDER BY number")
        return [Annotator(*row) for row in rows]

    def record(self, annotator: str, kind: EventKind, detail: str = "") -> None:
        """Records that something happened to a person."""
        with self._database.transaction():
            self._database.write(
                "INSERT INTO events (annotator, kind, detail, at) VALUES (?, ?, ?, ?)",
                annotator, kind, detail, time.time(),
            )  # fmt: skip

    def events(self, annotator: str) -> list[Event]:
        """Returns what happened to a person, in order."""
        rows = self._database.all(
            "SELECT annotator, kind, detail, at FROM events WHERE annotator = ? ORDER BY number",
            annotator,
        )
        return [Event(*row) for row in rows]

    def last(self, annotator: str, *kinds: EventKind) -> Event | None:
        """Returns the last event of some kinds, or None."""
        return next((one for one in reversed(self.events(annotator)) if one.kind in kinds), None)

    def excluded(self) -> set[str]:
        """Returns the ids of those whose judgements do not count."""
        return {annotator for (annotator,) in self._database.all("SELECT annotator FROM excluded")}
