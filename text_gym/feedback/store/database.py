"""One SQLite file: opened, locked against threads, written in transactions that are on disk.

Knows nothing of what the tables mean; see `schema.sql`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from text_gym.quoting import quoted

_VERSION = 1
_WAIT_SECONDS = 20.0
"""For another process that writes: a command beside the server."""

Row = tuple[Any, ...]


class Database:
    """Holds one connection, which threads share one after the other.

    A transaction that is durable has been written through to the disk when it ends (`synchronous =
    FULL`); one that is not survives the end of the process, but perhaps not that of the machine.

    Args:
        path: Of the file; made if there is none.

    Raises:
        ValueError: If the file was made by a later version, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            if isinstance(
                error, sqlite3.OperationalError
            ):  # the machine refuses: no room, no access
                raise
            raise ValueError(f"{quoted(str(path))} must be a store of a study: {error}") from error
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Closes the file; what was acknowledged is in it."""
        with self._lock:
            self._connection.close()

    def all(self, statement: str, *values: Any) -> list[Row]:
        """Returns the rows of a query."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def first(self, statement: str, *values: Any, **named: Any) -> Row | None:
        """Returns the first row of a query, or None; values by place, or by name."""
        with self._lock:
            row: Row | None = self._connection.execute(statement, named or values).fetchone()
            return row

    def write(self, statement: str, *values: Any) -> int:
        """Executes a statement within a transaction; returns how many rows it changed."""
        return self._connection.execute(statement, values).rowcount

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Does everything in the block, or nothing of it; one within another is part of it."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def erase_traces(self) -> None:
        """Removes deleted rows from the write-ahead log too."""
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _prepare(self) -> None:
        for setting in (
            "journal_mode = WAL",
            "secure_delete = ON",
            "recursive_triggers = ON",
            "cache_size = -8000",
        ):
            self._connection.execute(f"PRAGMA {setting}")
        with self.transaction():
            row = self.first("PRAGMA user_version")
            version = 0 if row is None else row[0]
            if version > _VERSION:
                raise ValueError(
                    f"the store of a study must be of version {_VERSION}, got {version} in "
                    f"{quoted(str(self.path))}: a later text_gym made it"
                )
            if version == 0:
                self._make()

    def _make(self) -> None:
        schema = files("text_gym.feedback.store").joinpath("schema.sql").read_text("utf-8")
        for statement in _statements(schema):
            self.write(statement)
        self.write(f"PRAGMA user_version = {_VERSION}")


def _statements(schema: str) -> Iterator[str]:
    """Yields the statements of a file; `executescript` would end the transaction."""
    statement = ""
    for line in schema.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
