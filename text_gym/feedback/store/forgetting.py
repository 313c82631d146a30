"""Deleting a person on request: counts remain, in which nobody can be recognised.

Knows the tables of all others, and nothing of who asked.
"""

from __future__ import annotations

from text_gym.feedback.store.database import Database
from text_gym.feedback.store.judgements import Judgements


def forget(database: Database, judgements: Judgements, annotator: str) -> None:
    """Deletes whatever the store holds of a person, from the file too.

    Of their judgements that count, it remains how often each answer was given to each item; what
    they wrote does not.
    """
    with database.transaction():
        items = {one.item for one in judgements.all(annotator)}
        database.write(
            """INSERT INTO remains SELECT item, answer, 1 FROM counted
            WHERE annotator = ? AND answer NOT LIKE '{"correction"%'
            ON CONFLICT DO UPDATE SET count = count + 1""",
            annotator,
        )
        database.write("INSERT INTO forgetting VALUES (?)", annotator)
        database.write(
            "DELETE FROM undos WHERE judgement IN (SELECT id FROM judgements WHERE annotator = ?)",
            annotator,
        )
        for column in (
            "judgements.annotator", "events.annotator", "leases.annotator", "tokens.holder",
            "annotators.id", "forgetting.annotator",
        ):  # fmt: skip
            database.write(f"DELETE FROM {column.partition('.')[0]} WHERE {column} = ?", annotator)
        for item in items:
            judgements.count(item)
    database.erase_traces()
