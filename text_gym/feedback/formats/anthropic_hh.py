r"""Preferences as in Anthropic's HH-RLHF: JSON lines of two transcripts, `chosen` and `rejected`.

A transcript is "\n\nHuman: ...\n\nAssistant: ..." and so on; both begin with the same turns, and
end with what is compared. A prompt that is a text becomes one turn of the human. The format has no
system message and no escape: a text that would be read as another turn is refused, not written.
With the ids of the judgements where there are any.

A file that was read is written again byte for byte, as long as each colon of its transcripts is
followed by one space, it ends its lines with LF, and its JSON is spelt as Python spells it.

Source: https://huggingface.co/datasets/Anthropic/hh-rlhf
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path

from text_gym.feedback.collected import Prompt
from text_gym.feedback.formats.json_text import Row, json_lines, read_json_lines, require
from text_gym.feedback.formats.sources import judgements_from_json
from text_gym.feedback.items import Turn
from text_gym.feedback.preferences import Preference
from text_gym.quoting import quoted

SPEAKERS = {"user": "Human", "assistant": "Assistant"}
_ROLES = {speaker: role for role, speaker in SPEAKERS.items()}
_HEADING = re.compile(r"\n\n(Human|Assistant): ?")


def write(preferences: Iterable[Preference]) -> Iterator[str]:
    """Yields the lines of the file.

    Raises:
        ValueError: If a turn has no speaker in this format, or a text would be read as another
        turn.
    """
    return json_lines(map(_row, preferences))


def read(path: Path) -> list[Preference]:
    """Reads a file.

    Raises:
        OSError: If there is no such file.
        ValueError: If a line is not as said; names line, field and value.
    """
    return read_json_lines(path, _preference)


def transcript(turns: Iterable[Turn]) -> str:
    r"""Returns turns as one text.

    Raises:
        ValueError: If a turn has no speaker in this format, or its text would be read as another.

    Example:
        >>> transcript([Turn("user", "Hi"), Turn("assistant", "Hello!")])
        '\n\nHuman: Hi\n\nAssistant: Hello!'
    """
    return "".join(map(_spelt, turns))


def turns_of(text: str, name: str) -> tuple[Turn, ...]:
    """Returns the turns of a transcript.

    Raises:
        ValueError: If it does not begin with one, or none is the assistant's at its end.
    """
    before, *parts = _HEADING.split(text)
    turns = tuple(
        Turn(_ROLES[who], said) for who, said in zip(parts[::2], parts[1::2], strict=True)
    )
    if before or not turns or turns[-1].role != "assistant":
        raise ValueError(
            f"{name} must be a transcript that ends with the assistant, got {quoted(text)}"
        )
    return turns


def _row(one: Preference) -> dict[str, object]:
    conversation = _conversation(one.prompt)
    row: dict[str, object] = {
        name: transcript((*conversation, Turn("assistant", text)))
        for name, text in (("chosen", one.chosen), ("rejected", one.rejected))
    }
    return row | ({"judgements": list(one.judgements)} if one.judgements else {})


def _conversation(prompt: Prompt) -> tuple[Turn, ...]:
    return (Turn("user", prompt),) if isinstance(prompt, str) else prompt


def _spelt(turn: Turn) -> str:
    if turn.role not in SPEAKERS:
        speakers = " and ".join(SPEAKERS)
        raise ValueError(f"role must be one of {speakers} in this format, got {quoted(turn.role)}")
    if _HEADING.search(turn.text):
        raise ValueError(f"text must not look like a turn of this format, got {quoted(turn.text)}")
    return f"\n\n{SPEAKERS[turn.role]}: {turn.text}"


def _preference(row: Row) -> Preference:
    chosen = turns_of(require(row, "chosen", str), "chosen")
    rejected = turns_of(require(row, "rejected", str), "rejected")
    pairs = zip(chosen, rejected, strict=False)
    shared = len(list(takewhile(lambda both: both[0] == both[1], pairs)))
    if not 0 < shared == len(chosen) - 1 == len(rejected) - 1:
        raise ValueError(
            "rejected must differ from chosen in its last turn, and in it alone, "
            f"got {quoted(row['rejected'])}"
        )
    return Preference(
        chosen[:shared], chosen[-1].text, rejected[-1].text, judgements=judgements_from_json(row)
    )
