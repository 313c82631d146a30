"""The items of a study: added, never changed. Knows nothing of who judges them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence

from text_gym.feedback.answers import Answer
from text_gym.feedback.items import Item, Purpose, item_from_json, item_to_json
from text_gym.feedback.store.database import Database
from text_gym.quoting import quoted


class Items:
    """Keeps what is judged, and in which order it comes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, items: Iterable[Item]) -> int:
        """Adds items; those that are there already are left alone. Returns how many were new.

        Raises:
            ValueError: If there is another item of the same id; then none is added.
        """
        with self._database.transaction():
            return sum(map(self._add, items))

    def get(self, item: str) -> Item:
        """Returns an item.

        Raises:
            KeyError: If there is none of that id.
        """
        row = self._database.first("SELECT content FROM items WHERE id = ?", item)
        if row is None:
            raise KeyError(item)
        return item_from_json(json.loads(row[0]))

    def all(self, purpose: Purpose | None = None) -> list[Item]:
        """Returns the items, of one purpose or of all, in the order in which they were added."""
        where, values = ("TRUE", ()) if purpose is None else ("purpose = ?", (purpose,))
        rows = self._database.all(
            f"SELECT content FROM items WHERE {where} ORDER BY number", *values
        )
        return [item_from_json(json.loads(content)) for (content,) in rows]

    def progress(self, overlap: tuple[int, int]) -> tuple[int, int]:
        """Returns how many judgements of items for work there are, and how many are wanted.

        Args:
            overlap: Judgements wanted of an item, and of one on which people disagree.
        """
        row = self._database.first(
            """SELECT IFNULL(SUM(MIN(judged, wanted)), 0), IFNULL(SUM(wanted), 0) FROM (
                SELECT judged, CASE WHEN answers > 1 THEN ? ELSE ? END AS wanted
                FROM queue WHERE purpose = 'work'
            )""",
            overlap[1],
            overlap[0],
        )
        return (0, 0) if row is None else (row[0], row[1])

    def waiting(self, items: Sequence[str], overlap: tuple[int, int]) -> set[str]:
        """Returns those of some items for work that are not judged often enough.

        Args:
            items: Their ids.
            overlap: Judgements wanted of an item, and of one on which people disagree.
        """
        rows = self._database.all(
            """SELECT item FROM queue WHERE item IN (SELECT value FROM json_each(?))
            AND judged < CASE WHEN answers > 1 THEN ? ELSE ? END""",
            json.dumps(items), overlap[1], overlap[0],
        )  # fmt: skip
        return {item for (item,) in rows}

    def expected(self, purpose: Purpose) -> dict[str, Answer]:
        """Returns the answers that are known, by item, of one purpose."""
        return {item.id: item.expected for item in self.all(purpose) if item.expected is not None}

    def score(self, scores: Mapping[str, float]) -> None:
        """Says which items come first: those of the highest score; the others have 0.

        Raises:
            ValueError: If there is no item of one of the ids; then nothing is changed.
        """
        with self._database.transaction():
            self._database.write("UPDATE queue SET score = 0 WHERE score <> 0")
            for item, score in scores.items():
                if not self._database.write(
                    "UPDATE queue SET score = ? WHERE item = ?", score, item
                ):
                    raise ValueError(f"scores must be of items of the study, got {quoted(item)}")

    def _add(self, item: Item) -> bool:
        content = json.dumps(item_to_json(item), ensure_ascii=False)
        row = self._database.first("SELECT content FROM items WHERE id = ?", item.id)
        if row is not None:
            if row[0] != content:
                raise ValueError(
                    f"ids of items must be unique, but another item is already {quoted(item.id)}"
                )
            return False
        self._database.write(
            "INSERT INTO items (id, purpose, audience, content, added_at) VALUES (?, ?, ?, ?, ?)",
            item.id, item.purpose, item.audience, content, time.time(),
        )  # fmt: skip
        self._database.write(
            "INSERT INTO queue (item, purpose, audience, draw) VALUES (?, ?, ?, ?)",
            item.id, item.purpose, item.audience, _draw(item.id),
        )  # fmt: skip
        return True


def _draw(item: str) -> int:
    """Returns the place of an item in an order that looks random and is the same for everybody."""
    return int.from_bytes(hashlib.sha256(item.encode()).digest()[:6], "big")
