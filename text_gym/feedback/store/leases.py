"""Items that are on somebody's screen, and items that wait. Knows nothing of why one is chosen."""

from __future__ import annotations

import json
from dataclasses import dataclass

from text_gym.feedback.items import Purpose
from text_gym.feedback.store.database import Database, Row

_COLUMNS = "id, annotator, item, shown, shown_at, expires_at, guideline_version, repeats"


@dataclass(frozen=True)
class Lease:
    """Holds what one person has on the screen, until they answer or the time is over."""

    id: str
    """Becomes that of the judgement."""
    annotator: str
    item: str
    order: tuple[int, ...]
    """As in `Judgement`."""
    shown_at: float
    expires_at: float
    guideline_version: int
    repeats: str | None = None


class Leases:
    """Keeps one lease a person, and finds the item that comes next."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def grant(self, lease: Lease) -> None:
        """Gives somebody an item; what they had before is given back."""
        with self._database.transaction(durable=False):
            self.release(lease.annotator)
            self._database.write(
                f"INSERT INTO leases ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                lease.id, lease.annotator, lease.item, json.dumps(lease.order), lease.shown_at,
                lease.expires_at, lease.guideline_version, lease.repeats,
            )  # fmt: skip

    def release(self, annotator: str) -> None:
        """Gives back what somebody has."""
        with self._database.transaction(durable=False):
            self._database.write("DELETE FROM leases WHERE annotator = ?", annotator)

    def get(self, lease: str) -> Lease | None:
        """Returns a lease that was neither answered nor given back, expired or not."""
        return _lease(self._database.first(f"SELECT {_COLUMNS} FROM leases WHERE id = ?", lease))

    def of(self, annotator: str) -> Lease | None:
        """Returns what somebody has, expired or not."""
        return _lease(
            self._database.first(f"SELECT {_COLUMNS} FROM leases WHERE annotator = ?", annotator)
        )

    def all(self) -> list[Lease]:
        """Returns all leases, those that expired too."""
        rows = self._database.all(f"SELECT {_COLUMNS} FROM leases ORDER BY shown_at")
        return [lease for lease in map(_lease, rows) if lease is not None]

    def next_item(
        self, annotator: str, purpose: Purpose, *, expert: bool, at: float, overlap: tuple[int, int]
    ) -> str | None:
        """Returns the first waiting item that somebody may see and has not answered, or None.

        First come the highest scores, then the order that was drawn by lot.

        Args:
            annotator: Who asks.
            purpose: Of the item. Only an item for work is ever judged often enough.
            expert: Whether they see items for experts.
            at: The time; leases that expired before do not count.
            overlap: Judgements wanted of an item, and of one on which people disagree.
        """
        row = self._database.first(
            """SELECT item FROM queue
            WHERE purpose = :purpose AND (audience = 'everyone' OR :expert)
            AND (purpose <> 'work' OR judged + (
                SELECT COUNT(*) FROM leases
                WHERE leases.item = queue.item AND expires_at > :at AND annotator <> :annotator
                AND repeats IS NULL
            ) < CASE WHEN answers > 1 THEN :most ELSE :least END)
            AND NOT EXISTS (
                SELECT 1 FROM standing
                WHERE standing.annotator = :annotator AND standing.item = queue.item
            )
            ORDER BY score DESC, draw LIMIT 1""",
            annotator=annotator, purpose=purpose, expert=expert, at=at, least=overlap[0],
            most=overlap[1],
        )  # fmt: skip
        return None if row is None else str(row[0])

    def has_room(self, lease: Lease, *, at: float, overlap: tuple[int, int]) -> bool:
        """Tells whether a lease that expired may still be answered: nobody took its place."""
        row = self._database.first(
            """SELECT judged + (
                SELECT COUNT(*) FROM leases
                WHERE leases.item = queue.item AND expires_at > :at AND id <> :lease
                AND repeats IS NULL
            ) < CASE WHEN answers > 1 THEN :most ELSE :least END
            FROM queue WHERE item = :item AND purpose = 'work'""",
            item=lease.item, at=at, lease=lease.id, least=overlap[0], most=overlap[1],
        )  # fmt: skip
        return row is None or lease.repeats is not None or bool(row[0])


def _lease(row: Row | None) -> Lease | None:
    if row is None:
        return None
    identity, annotator, item, shown, *rest = row
    return Lease(identity, annotator, item, tuple(json.loads(shown)), *rest)
