"""What is kept of an answer: a row that is never changed. Knows nothing of where rows are kept."""

from __future__ import annotations

from dataclasses import dataclass

from text_gym.feedback.answers import Answer


@dataclass(frozen=True)
class Judgement:
    """Holds who said what about which item, and what was on the screen."""

    id: str
    """Given when the item was shown; whoever sends it twice has answered once."""
    annotator: str
    """`Annotator.id`."""
    item: str
    """`Item.id`."""
    order: tuple[int, ...]
    """The completions as they were shown, by their place in the item: of two, `order[0]` was on the
    left."""
    answer: Answer
    shown_at: float
    """Seconds since 1970, as `time.time` counts them; `answered_at` too."""
    answered_at: float
    guideline_version: int
    strength: int | None = None
    """How much better: 1 slightly, 2 clearly, 3 by far. None if nothing was said."""
    reason: str = ""
    repeats: str | None = None
    """The judgement of the same person that is asked again here, with its sides swapped."""

    @property
    def seconds(self) -> float:
        """How long the person looked at it."""
        return self.answered_at - self.shown_at
