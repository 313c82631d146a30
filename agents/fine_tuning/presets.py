"""The fine-tuning runs that come with the package: what `python -m agents.train` can be asked for.

Plain dataclasses, without torch, so that the command line answers at once. `agents.fine_tuning`
does what they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agents.config import PPOConfig


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Says what to fine-tune, on which prompts, for which feedback, and where to write."""

    model: str
    """`small-talk` (the model in this package), `toy` (untrained, ends a text with probability 0.2
    at every token), or a folder, hub id or GGUF file of a causal language model."""
    prompts: str
    """`chitchat` (human turns of conversations that the small-talk model never saw), `small-talk`
    (the package's own), a .txt or .jsonl file, or one text."""
    reward: Literal["sentiment", "word_count"]
    """What a reply is paid for: VADER's compound sentiment in [-1, 1], or its number of words."""
    prompt_template: str = "{prompt}\n"
    """What the policy sees of a prompt."""
    max_new_tokens: int = 32
    """Longest reply, end of text included."""
    total_episodes: int
    """Replies to learn from."""
    num_envs: int = 256
    """Replies written side by side."""
    eval_episodes: int = 256
    """Replies, to prompts held out where there are any, that are judged before and after."""
    temperature: float = 1.0
    """Of sampling and of every log-prob."""
    ppo: PPOConfig
    """How to learn."""
    output: Path = Path("runs")
    """Folder of runs."""
    name: str | None = None
    """Folder of this run within it; None: preset, seed and time."""
    threads: int = 2
    """Threads of torch. Results are the same bit for bit only for the same number."""


PRESETS: dict[str, tuple[str, FineTuning]] = {
    "dialogue": (
        "The main job: make the small-talk model's replies friendly, without it losing its tongue.",
        FineTuning(
            model="small-talk",
            prompts="chitchat",
            reward="sentiment",
            total_episodes=4096,
            ppo=PPOConfig(learning_rate=3e-4, n_epochs=2, micro_batch_size=16, kl_coef=0.04),
        ),
    ),
    "tutorial": (
        "The smallest example: more words in reply to 'How are you?'.",
        FineTuning(
            model="small-talk",
            prompts="How are you?",
            reward="word_count",
            max_new_tokens=20,
            total_episodes=1000,
            num_envs=50,
            # One point per word: λ = 1, because the value head starts at 0 and needs longer than
            # 1,000 episodes to learn values of this size.
            ppo=PPOConfig(
                learning_rate=5e-5, n_episodes=100, batch_size=50, kl_coef=1.0, gae_lambda=1.0
            ),
        ),
    ),
    "toy": (
        "TextGen-v0 as it stands, from a policy that ends with probability 0.2 at every word.",
        FineTuning(
            model="toy",
            prompts="How are you?",
            reward="word_count",
            prompt_template="{prompt}",
            max_new_tokens=20,
            total_episodes=1536,
            num_envs=64,
            ppo=PPOConfig(learning_rate=3e-3, n_episodes=64, batch_size=32, kl_coef=0.0),
        ),
    ),
}
