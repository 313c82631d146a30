"""The texts of a study, in all their versions. Knows nothing of where they are edited."""

from __future__ import annotations

import time

from text_gym.feedback.store.database import Database


class Documents:
    """Keeps every version of the guidelines, the consent text and the settings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enter(self, kind: str, text: str) -> int:
        """Enters a text, if it differs from the newest of its kind; returns its version, from 1."""
        with self._database.transaction():
            version, newest = self.newest(kind)
            if text == newest:
                return version
            self._database.write(
                "INSERT INTO documents VALUES (?, ?, ?, ?)", kind, version + 1, text, time.time()
            )
            return version + 1

    def newest(self, kind: str) -> tuple[int, str | None]:
        """Returns version and text of the newest document of a kind, 0 and None without any."""
        row = self._database.first(
            "SELECT version, text FROM documents WHERE kind = ? ORDER BY version DESC", kind
        )
        return (0, None) if row is None else (row[0], row[1])

    def text(self, kind: str, version: int) -> str:
        """Returns one version.

        Raises:
            KeyError: If there is none of that number.
        """
        row = self._database.first(
            "SELECT text FROM documents WHERE kind = ? AND version = ?", kind, version
        )
        if row is None:
            raise KeyError(f"{kind}, version {version}")
        return str(row[0])
