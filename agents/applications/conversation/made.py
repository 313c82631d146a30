"""What the conversation is made from and a command makes: its model, and the model of ratings.

Names, settings and places, without torch. A folder's name has a hash of all that its content
depends on but the code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from text_gym.cache import cache_folder
from text_gym.small_talk import DATASET_SHA256, RATING_SCALES

COMMAND = "python -m agents.prepare conversation"


@dataclass(frozen=True)
class Made:
    """Says what is made, and of what.

    Attributes:
        name: What it is called.
        settings: All that it depends on, in values that JSON can hold.
    """

    name: str
    settings: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Its folder in the cache, there or not."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()
        return cache_folder() / f"{self.name}-{digest[:12]}"

    def require(self) -> Path:
        """Returns the folder.

        Raises:
            FileNotFoundError: If it is not there; names the command that makes it.
        """
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"{self.name} is not in the cache ({self.folder}): make it once with `{COMMAND}`"
            )
        return self.folder


TURNS: Mapping[str, Any] = {
    "max_turns": 3,
    "max_turn_tokens": 20,
    "max_new_tokens": 60,
    "max_response_tokens": 44,
}
"""How a conversation goes: the prompt, three turns of the policy, two answers between them."""

ANSWER_TOKENS = TURNS["max_response_tokens"] // (TURNS["max_turns"] - 1)
"""Of each answer of the partner, its new line included."""

PROMPT_TOKENS = 128 - TURNS["max_new_tokens"] - TURNS["max_response_tokens"]
"""Longest prompt: what the model's 128 tokens leave."""

MODEL = Made(
    "conversation-model",
    {
        "data": DATASET_SHA256,
        "start": "small-talk",
        "windows": 128,
        "training": {"epochs": 1, "learning_rate": 8e-4, "eval_every": 150},
    },
)
"""The small-talk model, after it has read whole conversations."""

RATING = Made(
    "conversation-rating",
    {
        "model": MODEL.settings,
        "scales": RATING_SCALES,
        "conversations": 1_500,
        "training": {"learning_rate": 3e-4, "batch_size": 16},
        "turns": TURNS,
        "normalised_over": 512,
    },
)
"""A reward model of what people rated their conversations, the mean of all scales."""
