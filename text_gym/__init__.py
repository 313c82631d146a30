"""Writing a text as a Markov decision process, for Gymnasium.

The state is the text so far, an action is one token, and feedback on the finished text is the
reward. Importing this package registers `TextGen-v0`; it needs numpy and gymnasium and loads
nothing else.
"""

import gymnasium

from text_gym import applications, checks, constraints, rewards, tasks, wrappers
from text_gym.env import TextGenEnv
from text_gym.episode import Episode
from text_gym.hugging_face_tokenizer import HuggingFaceTokenizer
from text_gym.prompt_sources import (
    CallablePrompts,
    CurriculumPrompts,
    EpochPrompts,
    GroupedPrompts,
    PromptSource,
    UniformPrompts,
    WeightedPrompts,
)
from text_gym.prompts import Prompt
from text_gym.tokenizers import CharTokenizer, Tokenizer, WordTokenizer
from text_gym.vector_env import TextGenVectorEnv

__all__ = [
    "CallablePrompts",
    "CharTokenizer",
    "CurriculumPrompts",
    "Episode",
    "EpochPrompts",
    "GroupedPrompts",
    "HuggingFaceTokenizer",
    "Prompt",
    "PromptSource",
    "TextGenEnv",
    "TextGenVectorEnv",
    "Tokenizer",
    "UniformPrompts",
    "WeightedPrompts",
    "WordTokenizer",
    "applications",
    "checks",
    "constraints",
    "rewards",
    "tasks",
    "wrappers",
]
__version__ = "0.1.0"

gymnasium.register(
    id="TextGen-v0",
    entry_point="text_gym.env:TextGenEnv",
    vector_entry_point="text_gym.vector_env:TextGenVectorEnv",
)
