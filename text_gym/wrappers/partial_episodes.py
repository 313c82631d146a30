"""The texts being written, before their end: what dense rewards look at.

`TextTracker` follows the rows of an environment by its observations and infos alone, and hands out
`PartialEpisodes`, a batch of them, as ids at once and as `Episode`s when asked. It does not know
rewards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.inner_env import require_text
from text_gym.prompts import Prompt
from text_gym.task import TextTask
from text_gym.text_parts import completion_decoder

Rows = NDArray[np.intp]
UNLISTED = -1


class TextReader:
    """Turns token ids into partial `Episode`s.

    A listed prompt, which `info["prompt_id"]` names, has its reference and metadata; any other is
    decoded, and has neither.

    Args:
        tasks: Asked for the task of each row, or of all, when a text is first read.
    """

    def __init__(self, tasks: Callable[[], Sequence[TextTask]]) -> None:
        self._ask = tasks

    @cached_property
    def _tasks(self) -> Sequence[TextTask]:
        return self._ask()

    def read(
        self, row: int, prompt_id: int, token_ids: NDArray[np.int64], prompt_length: int
    ) -> Episode:
        """Returns a row's text as if it had reached its token limit here."""
        task = self._tasks[row % len(self._tasks)]
        prompt_ids = token_ids[:prompt_length].copy()
        prompts = task.source.prompts
        if prompts is None or prompt_id == UNLISTED:
            prompt = Prompt(task.tokenizer.decode(prompt_ids))
        else:
            prompt = prompts[prompt_id]
        return Episode(
            prompt=prompt.text,
            prompt_ids=prompt_ids,
            completion_ids=token_ids[prompt_length:].copy(),
            stop_reason="length",
            reference=prompt.reference,
            metadata=prompt.metadata,
            decode=completion_decoder(task.tokenizer, prompt_ids),
        )


@dataclass(frozen=True)
class PartialEpisodes:
    """Holds k partial texts.

    Attributes:
        rows: Where they are written, shape (k,).
        input_ids: Token ids, right-padded with 0, int64 (k, L).
        lengths: Number of tokens, shape (k,).
        prompt_lengths: How many of them are the prompt's, shape (k,).
        prompt_ids: The prompts' places in the list, or `UNLISTED`, shape (k,).
        reader: Turns ids into texts.
    """

    rows: Rows
    input_ids: NDArray[np.int64]
    lengths: NDArray[np.intp]
    prompt_lengths: NDArray[np.intp]
    prompt_ids: NDArray[np.intp]
    reader: TextReader

    @property
    def written(self) -> NDArray[np.intp]:
        """Number of completion tokens, shape (k,)."""
        return self.lengths - self.prompt_lengths

    def episodes(self, where: Iterable[int] | None = None) -> list[Episode]:
        """Returns the texts at the indices `where`, or all, with stop reason `"length"`."""
        indices = range(len(self.lengths)) if where is None else where
        return [self._episode(index) for index in indices]

    def _episode(self, index: int) -> Episode:
        token_ids = self.input_ids[index, : self.lengths[index]]
        row, prompt_id = int(self.rows[index]), int(self.prompt_ids[index])
        return self.reader.read(row, prompt_id, token_ids, int(self.prompt_lengths[index]))


def refuse_turns(infos: Mapping[str, Any]) -> None:
    """Raises ValueError where somebody else has added to a text that is followed."""
    if "appended" in infos:
        raise ValueError(
            "env must write texts of one turn where rewards look at texts before their end, got a "
            "responder that added to one"
        )


class TextTracker:
    """Follows which rows are being written, and where their prompts end.

    Args:
        num_rows: Number of rows n.
        space: The observation space of one row.
        tasks: As `TextReader` asks for.

    Raises:
        ValueError: If the observations are not those of the environment's contract.
    """

    def __init__(
        self, num_rows: int, space: gym.Space[Any], tasks: Callable[[], Sequence[TextTask]]
    ) -> None:
        require_text(space)
        self._reader = TextReader(tasks)
        self._prompt_lengths = np.zeros(num_rows, dtype=np.intp)
        self._prompt_ids = np.full(num_rows, UNLISTED, dtype=np.intp)
        self._writing = np.zeros(num_rows, dtype=np.bool_)

    @property
    def rows(self) -> Rows:
        """The rows that are being written, ascending."""
        return np.flatnonzero(self._writing)

    def begin(self, rows: Rows, prompt_lengths: Any, prompt_ids: Any) -> None:
        """Notes that an episode begins in each of `rows`, from these prompts."""
        self._prompt_lengths[rows] = prompt_lengths
        self._prompt_ids[rows] = prompt_ids
        self._writing[rows] = True

    def end(self, rows: Rows) -> None:
        """Notes that the episodes of `rows` are over."""
        self._writing[rows] = False

    def texts(self, rows: Rows, input_ids: NDArray[Any], mask: NDArray[Any]) -> PartialEpisodes:
        """Returns the texts of `rows` from their observations, (k, L) each."""
        lengths = mask.sum(axis=-1, dtype=np.intp)
        prompt_lengths, prompt_ids = self._prompt_lengths[rows], self._prompt_ids[rows]
        return PartialEpisodes(rows, input_ids, lengths, prompt_lengths, prompt_ids, self._reader)

    def get_state(self) -> dict[str, Any]:
        """Returns what `set_state` needs to go on from here."""
        return {
            "prompt_lengths": self._prompt_lengths.tolist(),
            "prompt_ids": self._prompt_ids.tolist(),
            "writing": self._writing.tolist(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that `get_state` returned.

        Raises:
            ValueError: If it is the state of another number of rows.
        """
        if len(state["writing"]) != len(self._writing):
            raise ValueError(
                f"state must be of {len(self._writing)} rows, got {len(state['writing'])}"
            )
        self._prompt_lengths = np.array(state["prompt_lengths"], dtype=np.intp)
        self._prompt_ids = np.array(state["prompt_ids"], dtype=np.intp)
        self._writing = np.array(state["writing"], dtype=np.bool_)
