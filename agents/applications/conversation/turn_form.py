"""What a model sees of a conversation: the form in which two people take turns.

A turn of the one who begins ends with a new line, one of the other with end-of-text, as prompt and
reply do in small talk. Nothing here knows a model.
"""

from __future__ import annotations

from text_gym import HuggingFaceTokenizer
from text_gym.small_talk import TEMPLATE

PROMPT_TEMPLATE = TEMPLATE
RESPONSE_TEMPLATE = TEMPLATE.replace("{prompt}", "{response}")


def encode_turn(text: str, place: int, tokenizer: HuggingFaceTokenizer) -> list[int]:
    """Returns the ids of one turn with its end.

    Args:
        text: What was said.
        place: Of the turn, from 0; who begins has the even ones.
        tokenizer: Of the model.
    """
    end = [tokenizer.eos_token_id] if place % 2 else tokenizer.encode("\n")
    return [*tokenizer.encode(text), *end]
