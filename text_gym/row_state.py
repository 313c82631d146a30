"""The state of one text being written: what a snapshot holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from text_gym.episode import StopReason, TokenIds
from text_gym.prompts import Prompt


@dataclass(frozen=True)
class RowState:
    """Holds one row of an environment: the text, how it ended if it has, and what comes next.

    Attributes:
        prompt: What the text continues.
        completion_ids: Tokens written so far, (T,).
        stop_reason: How the text ended; None while it is being written.
        reward: What the finished text was paid, for rendering.
        components: The terms of the reward by name, for rendering.
        random_state: Of the stream that the row's next prompt is drawn from; None if the row has
            no stream yet.
    """

    prompt: Prompt
    completion_ids: TokenIds
    stop_reason: StopReason | None
    reward: float | None
    components: Mapping[str, float]
    random_state: Mapping[str, Any] | None
