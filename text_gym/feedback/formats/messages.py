"""Prompts and completions as chat messages, as several formats spell them.

A prompt that is a text stays one; a conversation is a list of `role` and `content`, and what
answers it is a list of one message by the assistant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from text_gym.feedback.collected import Prompt
from text_gym.feedback.formats.json_text import Row, require
from text_gym.feedback.items import Turn
from text_gym.quoting import quoted


def prompt_to_json(prompt: Prompt) -> Any:
    """Returns a text as it is, and a conversation as messages.

    Example:
        >>> prompt_to_json((Turn("user", "Hi"),))
        [{'role': 'user', 'content': 'Hi'}]
    """
    if isinstance(prompt, str):
        return prompt
    return [{"role": turn.role, "content": turn.text} for turn in prompt]


def completion_to_json(prompt: Prompt, completion: str) -> Any:
    """Returns a completion of a text as it is, and the answer in a conversation as messages."""
    if isinstance(prompt, str):
        return completion
    return [{"role": "assistant", "content": completion}]


def prompt_from_json(row: Row, name: str = "prompt") -> Prompt:
    """Returns the prompt in a field.

    Raises:
        ValueError: If it is neither a text nor messages; names field and value.
    """
    value = row.get(name)
    if not isinstance(value, list):
        return require(row, name, str)
    if not value:
        raise ValueError(f"{name} must have messages, got []")
    return tuple(_turn(message, name) for message in value)


def completion_from_json(row: Row, name: str) -> str:
    """Returns the completion in a field.

    Raises:
        ValueError: If it is neither a text nor one message by the assistant; names field and value.
    """
    value = row.get(name)
    if not isinstance(value, list):
        return require(row, name, str)
    turns = [_turn(message, name) for message in value]
    if [turn.role for turn in turns] != ["assistant"]:
        raise ValueError(f"{name} must be one message by the assistant, got {quoted(value)}")
    return turns[0].text


def _turn(message: Any, name: str) -> Turn:
    if not isinstance(message, Mapping):
        raise ValueError(f"{name} must hold messages, JSON objects, got {quoted(message)}")
    return Turn(require(message, "role", str), require(message, "content", str))
