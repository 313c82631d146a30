"""The turns of many texts: whose turn has ended, what is added to which, and which texts end.

Knows conversations and the rows they stand in; neither rewards nor infos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from text_gym.conversation import Conversation, go_on
from text_gym.episode import Episode
from text_gym.prompt_streams import PromptStreams
from text_gym.task import EncodedPrompt, TextTask
from text_gym.text_rows import TextRows


class VectorTurns:
    """Follows the conversation in each row of a vector environment.

    Args:
        task: With a responder.
        texts: The rows, to which answers are appended.
        prompts: Have the random streams that responders' seeds come from.
    """

    def __init__(self, task: TextTask, texts: TextRows, prompts: PromptStreams) -> None:
        self._task, self._texts, self._prompts = task, texts, prompts
        self._conversations: dict[int, Conversation] = {}

    def __getitem__(self, row: int) -> Conversation:
        """Returns the conversation of a row that has a prompt."""
        return self._conversations[row]

    def begin(self, row: int, start: EncodedPrompt) -> None:
        """Begins the first turn after a prompt."""
        self._conversations[row] = Conversation(self._task, start)

    def go_on(self, codes: Mapping[int, int]) -> dict[int, int]:
        """Appends what the responder adds to texts whose turn has ended.

        Args:
            codes: By row, how the turn ended.

        Returns:
            By row, how many tokens were added; the texts of other rows end.

        Raises:
            ResponderError: If the responder fails.
        """
        for row in codes:
            conversation = self._conversations[row]
            conversation.end_turn(self._texts.after(row, conversation.length))
        asked = [row for row in codes if not self._conversations[row].is_over]
        answers = go_on(
            [self._conversations[row] for row in asked],
            [codes[row] for row in asked],
            [self._prompts.draw_seed(row) for row in asked],
        )
        appended = {}
        for row, token_ids in zip(asked, answers, strict=True):
            if token_ids is not None:
                self._texts.extend(row, token_ids, self._conversations[row].room)
                appended[row] = len(token_ids)
        return appended

    def numbers(self, rows: Sequence[int]) -> list[int]:
        """Returns which of the policy's turns each of `rows` is in, from 1."""
        return [self._conversations[row].n_turns + 1 for row in rows]

    def texts(self, rows: Sequence[int], codes: Sequence[int]) -> list[Episode]:
        """Returns the finished texts of `rows`, given how they ended."""
        return [
            self._conversations[row].episode(code) for row, code in zip(rows, codes, strict=True)
        ]

    def last_turns(self, rows: Sequence[int], codes: Sequence[int]) -> list[Episode]:
        """Returns the latest turn of each row as a text of its own, given how it ended."""
        return [
            self._conversations[row].turn_episode(code)
            for row, code in zip(rows, codes, strict=True)
        ]
