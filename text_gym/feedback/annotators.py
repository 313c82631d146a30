"""Who judges: a pseudonym, a role and a weight; and what happens to them in a study.

Knows no more of a person than that, and nothing of links, sessions or the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from text_gym.quoting import quoted

Role = Literal["annotator", "expert"]
ROLES: tuple[Role, ...] = ("annotator", "expert")
LONGEST_PSEUDONYM = 40

EventKind = Literal[
    "consented", "taught", "admitted", "rejected", "paused", "resumed", "excluded", "included"
]
"""Agreed to the consent text; read the guidelines; passed or failed the exam; was stopped by a rule
or by the researcher, and let go on; had their judgements left out of what counts, or back in."""


@dataclass(frozen=True)
class Annotator:
    """Holds what is known of one person."""

    id: str
    """Drawn at random: says nothing."""
    pseudonym: str
    """Chosen by the person or the researcher; no two are equal."""
    role: Role = "annotator"
    weight: float = 1.0
    """How much their judgements count where judgements are summed."""
    came_by: Literal["link", "crowd", "open"] = "link"

    def __post_init__(self) -> None:
        """Checks pseudonym, role and weight.

        Raises:
            ValueError: If one of them is not what it must be.
        """
        if not len(self.pseudonym.strip()) > 0 or len(self.pseudonym) > LONGEST_PSEUDONYM:
            raise ValueError(
                f"a pseudonym must have 1 to {LONGEST_PSEUDONYM} characters, "
                f"got {quoted(self.pseudonym)}"
            )
        if self.role not in ROLES:
            raise ValueError(f"role must be one of {', '.join(ROLES)}, got {quoted(self.role)}")
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight must be positive and finite, got {self.weight}")


@dataclass(frozen=True)
class Event:
    """Holds something that happened to an annotator: a row that is never changed."""

    annotator: str
    kind: EventKind
    detail: str
    """Why, or the version of a text."""
    at: float
    """Seconds since 1970."""
