"""The state of one text being written: what a snapshot holds, in values that JSON can hold too."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from text_gym.episode import StopReason
from text_gym.prompts import Prompt


class RowState(TypedDict):
    """Holds one row of an environment: the text, how it ended if it has, and what comes next."""

    prompt: Mapping[str, Any]
    """What the text continues, as `recorded_prompt` writes it down."""
    completion_ids: Sequence[int]
    """Tokens written so far; of several turns, those since the last of `passages`."""
    passages: NotRequired[Sequence[Mapping[str, Any]]]
    """What was written in the turns that have ended; of a text of one turn, left out."""
    stop_reason: StopReason | None
    """How the text ended; None while it is being written."""
    reward: float | None
    """What the finished text was paid, for rendering."""
    components: Mapping[str, float]
    """The terms of the reward by name, for rendering."""
    random_state: Mapping[str, Any] | None
    """Of the stream that the row's next prompt is drawn from; None if the row has none yet."""


def recorded_prompt(prompt: Prompt, listed: Sequence[Prompt] | None) -> dict[str, Any]:
    """Returns a prompt in plain values.

    Of a listed prompt only its place is written down, so that snapshots stay small however long
    the prompts are.

    Args:
        prompt: The prompt.
        listed: All prompts of its source, where they can be listed.

    Example:
        >>> recorded_prompt(Prompt("Hi", info={"prompt_id": 0}), [Prompt("Hi")])
        {'info': {'prompt_id': 0}}
        >>> recorded_prompt(Prompt("Hi"), None)
        {'info': {}, 'text': 'Hi', 'reference': None, 'metadata': {}}
    """
    info = dict(prompt.info)
    place = info.get("prompt_id", -1)
    if listed is not None and 0 <= place < len(listed) and _same(listed[place], prompt):
        return {"info": info}
    recorded = {
        "info": info,
        "text": prompt.text,
        "reference": prompt.reference,
        "metadata": dict(prompt.metadata),
    }
    messages = prompt.messages
    return recorded if messages is None else {**recorded, "messages": list(messages)}


def recalled_prompt(state: Mapping[str, Any], listed: Sequence[Prompt] | None) -> Prompt:
    """Returns the prompt that `recorded_prompt` wrote down.

    Raises:
        ValueError: If it is named by a place that the list of prompts does not have.
    """
    if "text" in state:
        messages = state.get("messages")
        return Prompt(**{**state, "messages": messages and tuple(messages)})
    place, count = state["info"]["prompt_id"], 0 if listed is None else len(listed)
    if listed is None or not place < count:
        raise ValueError(f"state must be of a task with prompt {place}, got {count} listed prompts")
    found = listed[place]
    prompt: Prompt = dataclasses.replace(found, info=dict(state["info"]))
    return prompt


def _same(listed: Prompt, prompt: Prompt) -> bool:
    """Compares without looking into metadata, which may hold arrays."""
    return (
        (listed.text, listed.messages) == (prompt.text, prompt.messages)
        and listed.reference == prompt.reference
        and (listed.metadata is prompt.metadata or not (listed.metadata or prompt.metadata))
    )
