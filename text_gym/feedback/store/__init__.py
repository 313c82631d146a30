"""The store of a study: one SQLite file to which rows are added.

Knows items, annotators and judgements; nothing of pages, nor of what should be judged next.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from text_gym.feedback.store.annotators import Annotators
from text_gym.feedback.store.database import Database
from text_gym.feedback.store.documents import Documents
from text_gym.feedback.store.forgetting import forget
from text_gym.feedback.store.items import Items
from text_gym.feedback.store.judgements import Judgements
from text_gym.feedback.store.leases import Lease, Leases
from text_gym.feedback.store.tokens import Tokens

__all__ = ["Lease", "Store"]


class Store:
    """Keeps a study. Several processes may have it open; one of them serves it.

    Args:
        path: Of the file; made if there is none.

    Attributes:
        items: What is judged.
        annotators: Who judges.
        judgements: What they said.
        documents: What they read.
        leases: What is on whose screen, and what waits.
        tokens: Links and sessions.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self.items = Items(self._database)
        self.annotators = Annotators(self._database)
        self.judgements = Judgements(self._database)
        self.documents = Documents(self._database)
        self.leases = Leases(self._database)
        self.tokens = Tokens(self._database)

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """Does everything in the block, or nothing of it; see `Database.transaction`."""
        return self._database.transaction(durable=durable)

    def forget(self, annotator: str) -> None:
        """Deletes a person on request; see `forgetting`."""
        forget(self._database, self.judgements, annotator)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the file."""
        self.close()
