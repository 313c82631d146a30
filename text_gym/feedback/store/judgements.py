"""The judgements of a study: rows that are only added. Knows nothing of what comes next."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from text_gym.feedback.answers import answer_from_json, answer_to_json
from text_gym.feedback.judgements import Judgement
from text_gym.feedback.store.database import Database, Row

_COLUMNS = (
    "id, annotator, item, shown, answer, shown_at, answered_at, guideline_version, strength, "
    "reason, repeats"
)


class Judgements:
    """Keeps what people said; taking back is a row as well."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, judgement: Judgement) -> None:
        """Adds a judgement: it is on disk when this returns.

        Raises:
            sqlite3.IntegrityError: If there is one of that id.
        """
        spelt = json.dumps(answer_to_json(judgement.answer), ensure_ascii=False)
        with self._database.transaction():
            self._database.write(
                f"INSERT INTO judgements ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                judgement.id, judgement.annotator, judgement.item, json.dumps(judgement.order),
                spelt, judgement.shown_at, judgement.answered_at, judgement.guideline_version,
                judgement.strength, judgement.reason, judgement.repeats,
            )  # fmt: skip
            self.count(judgement.item)

    def undo(self, judgement: str) -> None:
        """Takes a judgement back; the row stays.

        Raises:
            KeyError: If there is none of that id.
        """
        with self._database.transaction():
            row = self.get(judgement)
            if row is None:
                raise KeyError(judgement)
            self._database.write("INSERT INTO undos VALUES (?, ?)", judgement, time.time())
            self.count(row.item)

    def get(self, judgement: str) -> Judgement | None:
        """Returns a judgement, taken back or not; None if there is none of that id."""
        row = self._database.first(f"SELECT {_COLUMNS} FROM judgements WHERE id = ?", judgement)
        return None if row is None else _judgement(row)

    def latest(self, annotator: str) -> Judgement | None:
        """Returns the last judgement somebody gave; None if they have taken it back, or none is."""
        row = self._database.first(
            f"SELECT {_COLUMNS}, id IN (SELECT judgement FROM undos) FROM judgements "
            "WHERE annotator = ? ORDER BY number DESC LIMIT 1",
            annotator,
        )
        return None if row is None or row[-1] else _judgement(row[:-1])

    def undone(self) -> Mapping[str, float]:
        """Returns the ids of the judgements that were taken back, with the time."""
        return dict(self._database.all("SELECT judgement, at FROM undos"))

    def all(self, annotator: str | None = None, item: str | None = None) -> list[Judgement]:
        """Returns every judgement ever given, in order, taken back or not."""
        return self._of("judgements", annotator, item)

    def standing(self, annotator: str | None = None, item: str | None = None) -> list[Judgement]:
        """Returns the judgements that were not taken back, in order."""
        return self._of("standing", annotator, item)

    def work(self, annotator: str) -> list[Judgement]:
        """Returns what somebody said and did not take back, without tutorial and exam, in order."""
        rows = self._database.all(
            f"SELECT {_COLUMNS} FROM standing WHERE annotator = ? AND item NOT IN "
            "(SELECT id FROM items WHERE purpose IN ('tutorial', 'exam')) ORDER BY number",
            annotator,
        )
        return list(map(_judgement, rows))

    def counted(self, annotator: str | None = None, item: str | None = None) -> list[Judgement]:
        """Returns one opinion per person and item for work: no repeats, skips, excluded people."""
        return self._of("counted", annotator, item)

    def remains(self) -> list[tuple[str, str, int]]:
        """Returns (item, answer in JSON, count) of the people who asked to be forgotten."""
        rows = self._database.all("SELECT item, answer, count FROM remains ORDER BY item, answer")
        return [(item, answer, count) for item, answer, count in rows]

    def count(self, item: str) -> None:
        """Computes anew how often an item was judged, and in how many ways."""
        self._database.write(
            """UPDATE queue SET (judged, answers) = (
                SELECT IFNULL(SUM(n), 0), COUNT(DISTINCT answer) FROM (
                    SELECT answer, COUNT(*) AS n FROM counted WHERE item = ?1 GROUP BY answer
                    UNION ALL SELECT answer, count FROM remains WHERE item = ?1
                )
            ) WHERE item = ?1""",
            item,
        )

    def _of(self, table: str, annotator: str | None, item: str | None) -> list[Judgement]:
        chosen = {"annotator": annotator, "item": item}
        given = {column: value for column, value in chosen.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in given) or "TRUE"
        rows = self._database.all(
            f"SELECT {_COLUMNS} FROM {table} WHERE {where} ORDER BY number", *given.values()
        )
        return list(map(_judgement, rows))


def _judgement(row: Row) -> Judgement:
    identity, annotator, item, shown, answer, *rest = row
    return Judgement(
        identity, annotator, item, tuple(json.loads(shown)), answer_from_json(json.loads(answer)),
        *rest,
    )  # fmt: skip
