"""One text at one moment: how people are shown it, and how it is written down.

Knows neither how texts are stepped nor what comes next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from text_gym.conversation import Conversation
from text_gym.episode import Passage, StopReason, TokenIds
from text_gym.prompts import Prompt
from text_gym.rendering import render_image, render_text, token_pieces
from text_gym.row_state import RowState, recorded_prompt
from text_gym.task import EncodedPrompt


class TextSnapshot(NamedTuple):
    """Holds a text as it stands."""

    start: EncodedPrompt
    unfinished: TokenIds
    """What the policy has written since the prompt, or since the last turn that ended, (T,)."""
    conversation: Conversation | None
    """Of a text of one turn, None."""
    stop_reason: StopReason | None
    """How the text ended; None while it is being written."""
    reward: float | None
    components: Mapping[str, float]

    @property
    def passages(self) -> Sequence[Passage]:
        """Who wrote what so far; nothing of a text of one turn."""
        return self.conversation.with_unfinished(self.unfinished) if self.conversation else ()

    def rendered(self, mode: str | None, font: str | Path | None) -> Any:
        """Returns a str under `"ansi"`, and uint8 (H, W, 3) under `"rgb_array"`; otherwise None."""
        if mode == "rgb_array":
            return self.image(font)
        return self.text() if mode == "ansi" else None

    def text(self) -> str:
        """Returns the text for a terminal."""
        return render_text(
            self.start.prompt.text,
            self.start.decode(self.unfinished),
            self.stop_reason,
            self.reward,
            self.components,
            passages=self.passages,
        )

    def image(self, font: str | Path | None) -> NDArray[Any]:
        """Returns the text as a picture, uint8 (H, W, 3)."""
        pieces = (
            token_pieces(self.unfinished, self.start.decode)
            if self.conversation is None
            else [one.text for one in self.passages]
        )
        return render_image(
            self.start.prompt.text,
            pieces,
            stop_reason=self.stop_reason,
            reward=self.reward,
            components=self.components,
            font=font,
        )

    def recorded(
        self, listed: Sequence[Prompt] | None, random_state: Mapping[str, Any] | None
    ) -> RowState:
        """Returns the text in values that JSON can hold.

        Args:
            listed: All prompts of the source, where they can be listed.
            random_state: Of the stream that the next prompt is drawn from.
        """
        state = RowState(
            prompt=recorded_prompt(self.start.prompt, listed),
            completion_ids=self.unfinished.tolist(),
            stop_reason=self.stop_reason,
            reward=self.reward,
            components=dict(self.components),
            random_state=random_state,
        )
        if self.conversation is not None:
            state["passages"] = self.conversation.recorded()
        return state
