"""The fine-tuning runs that come with the package: what `python -m agents.train` can be asked for.

Plain dataclasses, without torch, so that the command line answers at once. `agents.runs`
does what they say.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agents.algorithms.configs.ppo import PPOConfig
from agents.policy.config import PolicyConfig
from agents.runs.algorithms import AlgorithmConfig, config_for


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Says what to fine-tune, on which prompts, for which feedback, and where to write."""

    model: str
    """`small-talk` (the model in this package), `smollm2` (SmolLM2-135M-Instruct, after `python -m
    agents.fetch smollm2`), `toy` (untrained, ends a text with probability 0.2 at every token), or a
    folder, hub id or GGUF file of a causal language model."""
    prompts: str
    """`chitchat` (human turns of conversations that the small-talk model never saw), `small-talk`
    (the package's own), `film-reviews` (first words of reviews, after `python -m agents.fetch
    film-reviews`), a .txt or .jsonl file (a tenth of its texts is held out), or one text."""
    reward: Literal["sentiment", "word_count", "positive_review"]
    """What a reply is paid for: VADER's compound sentiment in [-1, 1], its number of words, or the
    log-odds that it is from a positive film review, by a classifier fitted on reviews."""
    prompt_template: str = "{prompt}\n"
    """What the policy sees of a prompt."""
    max_new_tokens: int = 32
    """Longest reply, end of text included."""
    total_episodes: int
    """Replies to learn from."""
    num_envs: int = 256
    """Replies written side by side, by all processes together."""
    eval_episodes: int = 256
    """Replies that are judged before and after: to the prompts held out, or if there are fewer than
    ten prompts, to those of training."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """How the model becomes a policy, and what of it learns."""
    algorithm: AlgorithmConfig
    """How to learn; the options are those of the algorithm that `--algorithm` names."""
    output: Path = Path("runs")
    """Folder of runs."""
    checkpoint_every: int = 4
    """Updates between checkpoints, from the last of which a stopped run goes on."""
    keep_checkpoints: int = 2
    """Checkpoints to keep; older ones are removed."""
    name: str | None = None
    """Folder of this run within it; None: preset, seed and time."""
    profile: bool = False
    """Whether to say in the end where the time of an update went."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to compute: on a GPU if there is one, or on the CPU in any case."""
    threads: int | None = None
    """Threads of torch; None: `$OMP_NUM_THREADS`, else 2. Results are the same bit for bit only for
    the same number."""


PRESETS: dict[str, tuple[str, FineTuning]] = {
    "dialogue": (
        "The main job: make the small-talk model's replies friendly, without it losing its tongue.",
        FineTuning(
            model="small-talk",
            prompts="chitchat",
            reward="sentiment",
            total_episodes=4096,
            algorithm=PPOConfig(learning_rate=3e-4, n_epochs=2, micro_batch_size=16, kl_coef=0.04),
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
            algorithm=PPOConfig(
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
            algorithm=PPOConfig(learning_rate=3e-3, n_episodes=64, batch_size=32, kl_coef=0.0),
        ),
    ),
    "reviews": (
        "A real pretrained model, SmolLM2-135M, learns to go on with film reviews positively.",
        FineTuning(
            model="smollm2",
            prompts="film-reviews",
            reward="positive_review",
            prompt_template="{prompt}",
            max_new_tokens=24,
            total_episodes=1024,
            num_envs=64,
            # Products in bfloat16 take half the time on CPUs that know it. The weights stay in
            # float32, so that the adapters can be merged into them without loss.
            policy=PolicyConfig(autocast="bfloat16", lora_rank=16, lora_alpha=32),
            # A completion's log-odds have a standard deviation of about 1.2. λ = 1, because the
            # value head starts at 0 and would need more episodes than there are.
            algorithm=PPOConfig(
                learning_rate=1e-3,
                n_episodes=64,
                n_epochs=1,
                batch_size=16,
                kl_coef=0.2,
                gae_lambda=1.0,
            ),
        ),
    ),
}


def with_algorithm(config: FineTuning, name: str) -> FineTuning:
    """Returns a run with another algorithm.

    Args:
        config: Of the run.
        name: Of `agents.runs.algorithms.ALGORITHMS`.
    """
    algorithm: Any = config_for(name, config.algorithm)
    return dataclasses.replace(config, algorithm=algorithm)
