"""A person as the partner of a conversation: a responder whose lines come from a study.

One process serves the study's pages; this one adds the conversations whose turn has ended, each as
an item to be continued, and looks until somebody has. Knows nothing of pages or of who learns.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Literal

from text_gym.feedback.answers import Correction
from text_gym.feedback.items import Completion, Item, Turn, content_hash
from text_gym.feedback.store import Store
from text_gym.feedback.waiting import WaitsForPeople
from text_gym.turns import Responder, responses
from text_gym.turns import Turn as EndedTurn

USER, ASSISTANT = "user", "assistant"
"""Who speaks, on the page: the person, who also said the prompt; and the policy."""


class HumanPartner(WaitsForPeople):
    """Continues conversations with what people write on the pages of a study.

    The study is of mode "correct": people see the conversation and an empty text, and write their
    next line into it. One that they leave empty ends the conversation. The conversations of a call
    are added to the study, and the call returns when each was continued. A line is read up to the
    word for which there is no room, or that cannot be spelled; without any, the conversation ends.

    A conversation is named by what was said in it. So what was answered before is not asked again:
    a run that goes on after a crash hears what it heard before. For the same reason two rows in
    which the same was said get the same answer.

    Args:
        study: The folder; best one of its own. Serve it by
            `python -m text_gym.feedback serve STUDY`, before or while this waits.
        spell: Returns the tokens of a line, those of the response template included, or raises
            ValueError; with the policy's tokenizer.
        on_timeout: What becomes of a conversation of which nothing was said in time. "wait": time
            does not matter. "skip": it ends, and is counted. "stop": TimeoutError, which an
            environment reports as `ResponderError`. Or a responder that goes on in people's place.
        timeout: Seconds from the call.

    Attributes:
        skipped: Number of turns so far that nobody answered in time.

    Raises:
        FileNotFoundError: If there is no study.
        ValueError: If the study is of another mode, `on_timeout` is another word, or `timeout` is
            not above 0.

    Example:
        >>> import tempfile, warnings
        >>> import numpy as np
        >>> from text_gym.episode import Passage
        >>> from text_gym.feedback import StudyConfig, create_study
        >>> folder = Path(tempfile.mkdtemp()) / "study"
        >>> study = create_study(folder, StudyConfig(mode="correct"), [])
        >>> partner = HumanPartner(folder, str.split, on_timeout="skip", timeout=0.01)
        >>> said = Passage("policy", np.array([7]), "fine, and you?")
        >>> turn = EndedTurn("How are you?", [said], "eos", 9, 0, None, {})
        >>> with warnings.catch_warnings(action="ignore"):  # nobody serves it
        ...     partner([turn]), partner.skipped
        ([None], 1)
    """

    def __init__(
        self,
        study: Path | str,
        spell: Callable[[str], Sized],
        on_timeout: Literal["wait", "skip", "stop"] | Responder = "wait",
        timeout: float = 600.0,
    ) -> None:
        super().__init__(study, ("correct",), on_timeout, timeout, "a responder")
        self.fallback = None if isinstance(on_timeout, str) else on_timeout
        self.spell = spell

    def __call__(self, turns: Sequence[EndedTurn]) -> list[str | None]:
        """Returns what people say to n turns; None ends the conversation.

        Raises:
            TimeoutError: If nobody answered one in time, and the policy is "stop".
        """
        asked = [_item(turn) for turn in turns]
        lines = self.heard(asked, lambda store: [_line(store, item.id) for item in asked])
        silent = [at for at, line in enumerate(lines) if line is None]
        instead = dict(zip(silent, self._instead([turns[at] for at in silent]), strict=True))
        return [
            instead[at] if line is None else self._fitting(line, turn.room)
            for at, (line, turn) in enumerate(zip(lines, turns, strict=True))
        ]

    def _instead(self, silent: Sequence[EndedTurn]) -> Sequence[str | None]:
        """Returns what is said to turns that nobody answered."""
        self.count_silence(len(silent), "turns must be answered")
        if self.fallback is None or not silent:
            return [None] * len(silent)
        return responses(self.fallback, silent)

    def _fitting(self, line: str, room: int) -> str | None:
        """Returns the words of a line, from the first, that are read; None without."""
        words = line.split()
        sizes = range(1, len(words) + 1)
        fitting = bisect(sizes, 0, key=lambda n: not self._is_read(" ".join(words[:n]), room))
        return " ".join(words[:fitting]) or None

    def _is_read(self, line: str, room: int) -> bool:
        try:
            return len(self.spell(line)) <= room
        except ValueError:  # a character that the policy's vocabulary does not have
            return False


def _item(turn: EndedTurn) -> Item:
    """Returns a conversation so far, to be continued."""
    roles = {"policy": ASSISTANT, "responder": USER}
    said = [Turn(roles[passage.writer], passage.text) for passage in turn.passages]
    item = Item("-", (Turn(USER, turn.prompt), *said), (Completion(""),))
    return replace(item, id=content_hash(item))


def _line(store: Store, item: str) -> str | None:
    """Returns what was written first of what counts; None if nothing was."""
    for judgement in store.judgements.counted(item=item):
        if isinstance(judgement.answer, Correction):
            return judgement.answer.text
    return None
