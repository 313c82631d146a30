"""What a fine-tuning run can be told: `FineTuning`.

A plain dataclass, without torch, so that the command line answers at once. `agents.runs` does what
it says; `agents.applications` has those that come with the package.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agents.algorithms.configs.names import AlgorithmConfig, config_for
from agents.policy.config import PolicyConfig


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
    reward: str
    """What a reply is paid for: `sentiment` (VADER's compound, in [-1, 1]), `word_count`,
    `positive_review` (log-odds that it is from one, by a classifier fitted on reviews), `variety`
    (the share of its words that are distinct), `unwanted` (-1 for a profanity)."""
    prompt_template: str = "{prompt}\n"
    """What the policy sees of a prompt."""
    max_new_tokens: int = 32
    """Longest reply, end of text included."""
    ban_unwanted: bool = False
    """Whether masks keep profanities (better-profanity's English list) from being written, in
    training and in evaluation."""
    total_episodes: int
    """Replies to learn from."""
    num_envs: int = 256
    """Replies written side by side, by all processes together."""
    eval_episodes: int = 256
    """Replies that are evaluated before and after: to the prompts held out, or if there are fewer
    than ten prompts, to those of training."""
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


def with_algorithm(config: FineTuning, name: str) -> FineTuning:
    """Returns a run with another algorithm.

    Args:
        config: Of the run.
        name: Of `agents.algorithms.configs.names.ALGORITHMS`.
    """
    algorithm: Any = config_for(name, config.algorithm)
    return dataclasses.replace(config, algorithm=algorithm)
