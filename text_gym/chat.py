"""Prompts and turns in a tokenizer's own chat template, where messages are data.

The template may name control tokens; a message never becomes one, whatever it says. Knows a
tokenizer and messages, neither environments nor prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from text_gym.hugging_face_tokenizer import HuggingFaceTokenizer
from text_gym.quoting import quoted
from text_gym.tokenizers import Tokenizer

Message = Mapping[str, str]
_PLACES = ("\ue000", "\ue001")
"""Private characters around the number of a message, where the template shows it."""


class ChatTemplate:
    """Spells conversations as a tokenizer's chat template does.

    Args:
        tokenizer: With a chat template.

    Attributes:
        end_of_turn_id: The token that the template writes after what the policy says.

    Raises:
        ValueError: If it has none, or none that a policy can write in: with users, and a control
            token at the end of a turn.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if not isinstance(tokenizer, HuggingFaceTokenizer) or not tokenizer.tokenizer.chat_template:
            raise ValueError(
                "tokenizer must be a Hugging Face one with a chat template where chat=True, got "
                f"{type(tokenizer).__name__} without one"
            )
        self._tokenizer = tokenizer
        pieces = self._pieces([_user("?"), {"role": "assistant", "content": "!"}, _user("?")])
        end = tokenizer.control_token_at_start(pieces[2])
        if end is None:
            raise ValueError(
                "the chat template must write a control token after what the assistant says, got "
                f"{quoted(pieces[2])}"
            )
        self.end_of_turn_id, end_name = end
        self._after_end = pieces[2].removeprefix(end_name)
        self._end_name = end_name
        self._answer = pieces[3]

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Returns the ids of a conversation up to where the policy's turn begins.

        Raises:
            ValueError: If the template has no place for them, or they cannot be spelled.
        """
        contents = [message["content"] for message in messages]
        pieces = self._pieces(messages)
        own = self._rendered(messages)
        if _woven(pieces, contents) != own:
            contents = [content.strip() for content in contents]  # as many templates do
        if _woven(pieces, contents) != own:
            raise ValueError(f"the chat template must show messages as they are, got {quoted(own)}")
        return self._tokenizer.encode_woven(pieces, contents)

    def encode_answer(self, text: str, *, turn_has_ended: bool) -> list[int]:
        """Returns the ids of a user's answer, up to where the policy's next turn begins.

        Args:
            text: What the user says.
            turn_has_ended: Whether the policy wrote the token that ends its turn.
        """
        before = ("" if turn_has_ended else self._end_name) + self._after_end
        return self._tokenizer.encode_woven([before, self._answer], [text])

    def _pieces(self, messages: Sequence[Message]) -> list[str]:
        """Returns what the template writes before, between and after the messages."""
        opening, closing = _PLACES
        places = [f"{opening}{number}{closing}" for number in range(len(messages))]
        shown = self._rendered(
            [{**message, "content": at} for message, at in zip(messages, places, strict=True)]
        )
        pieces = []
        for place in places:
            before, found, shown = shown.partition(place)
            if not found or place in shown:
                raise ValueError(
                    "the chat template must show every message once, in order, got "
                    f"{quoted(str(list(messages)))}"
                )
            pieces.append(before)
        return [*pieces, shown]

    def _rendered(self, messages: Sequence[Message]) -> str:
        try:
            return str(
                self._tokenizer.tokenizer.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=True
                )
            )
        except Exception as error:  # a template is a program, and somebody else's
            raise ValueError(
                f"the chat template must have a place for {quoted(str(list(messages)))}: {error}"
            ) from error


def as_messages(row: Any) -> tuple[Message, ...]:
    """Returns messages, each a role and a text.

    Raises:
        TypeError: If `row` is something else.

    Example:
        >>> as_messages([{"role": "user", "content": "Hi"}])
        ({'role': 'user', 'content': 'Hi'},)
    """
    is_list = isinstance(row, list | tuple) and len(row) > 0
    if not is_list or not all(_is_message(one) for one in row):
        raise TypeError(
            "messages must be a list of mappings with the texts 'role' and 'content', got "
            f"{quoted(str(row))}"
        )
    return tuple({"role": one["role"], "content": one["content"]} for one in row)


def readable(messages: Sequence[Message]) -> str:
    """Returns messages as lines of role and text, as people and reward functions read them."""
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)


def as_conversation(text: str) -> tuple[Message, ...]:
    """Returns a text as what a user says first."""
    return (_user(text),)


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def _is_message(one: Any) -> bool:
    return (
        isinstance(one, Mapping)
        and isinstance(one.get("role"), str)
        and isinstance(one.get("content"), str)
    )


def _woven(pieces: Sequence[str], contents: Sequence[str]) -> str:
    woven = [part for pair in zip(pieces, contents, strict=False) for part in pair]
    return "".join([*woven, pieces[-1]])
