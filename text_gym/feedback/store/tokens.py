"""Secrets: of people, by their hash alone, and of the study itself. Knows nothing of addresses."""

from __future__ import annotations

import hashlib
import secrets
from typing import Literal, NamedTuple

from text_gym.feedback.store.database import Database

TokenPurpose = Literal["link", "session", "crowd", "admin", "worker"]


class Held(NamedTuple):
    """Holds what a token is good for."""

    holder: str
    """An annotator's id, or what else the one who issued it wrote."""
    expires_at: float


class Tokens:
    """Keeps links and sessions: not what was issued, which nobody can read again, but its hash."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def issue(self, purpose: TokenPurpose, holder: str, expires_at: float) -> str:
        """Returns a new token of 256 random bits, for somebody to keep."""
        token = secrets.token_urlsafe(32)
        self.register(token, purpose, holder, expires_at)
        return token

    def register(self, token: str, purpose: TokenPurpose, holder: str, expires_at: float) -> None:
        """Makes a token good that was made elsewhere."""
        with self._database.transaction():
            self._database.write(
                "INSERT INTO tokens VALUES (?, ?, ?, ?)", _hash(token), purpose, holder, expires_at
            )

    def held(self, token: str, purpose: TokenPurpose) -> Held | None:
        """Returns what a token is good for, or was if it has expired; None if there is none."""
        row = self._database.first(
            "SELECT holder, expires_at FROM tokens WHERE hash = ? AND purpose = ?",
            _hash(token),
            purpose,
        )
        return None if row is None else Held(*row)

    def revoke(self, token: str) -> None:
        """Ends a token."""
        with self._database.transaction():
            self._database.write("DELETE FROM tokens WHERE hash = ?", _hash(token))

    def revoke_all(self, holder: str, *purposes: TokenPurpose) -> None:
        """Ends all tokens of some purposes that somebody holds."""
        with self._database.transaction():
            for purpose in purposes:
                self._database.write(
                    "DELETE FROM tokens WHERE holder = ? AND purpose = ?", holder, purpose
                )

    def secret(self) -> bytes:
        """Returns the study's own secret of 256 random bits, always the same."""
        with self._database.transaction():
            row = self._database.first("SELECT value FROM secrets WHERE name = 'study'")
            if row is not None:
                return bytes(row[0])
            made = secrets.token_bytes(32)
            self._database.write("INSERT INTO secrets VALUES ('study', ?)", made)
            return made


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
