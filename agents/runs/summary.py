"""What a run says of itself: a header, its figures, the same prompts' replies before and after."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

import text_gym
from agents.agent import Agent
from agents.applications.fine_tuning import FineTuning
from agents.applications.split import Split
from agents.evaluation.evaluate import Evaluation, paired_gain


def run_name(preset: str, seed: int) -> str:
    """Returns a name for a run's folder that no run has which was started in another second."""
    return f"{preset}-seed{seed}-{time.strftime('%Y%m%d-%H%M%S')}"


def header(config: FineTuning, split: Split, policy: nn.Module) -> dict[str, Any]:
    """Returns what a person wants to know before the run."""
    parameters = sum(parameter.numel() for parameter in policy.parameters())
    return {
        "model": f"{config.model} ({parameters / 1e6:.1f} M parameters)",
        "prompts": f"{len(split.train):,} from {config.prompts}; {len(split.heldout):,} held out",
        "reward": config.reward,
        "episodes": f"{config.total_episodes:,}, {config.algorithm.n_episodes} per update",
        "threads": torch.get_num_threads(),
    }


def summary(
    before: Evaluation, after: Evaluation, agent: Agent, tokens: int, seconds: float
) -> dict[str, Any]:
    """Returns the figures before and after, and what the training between them took.

    Args:
        before: Of the policy that training started from.
        after: Of the policy that it ended with.
        agent: What learnt.
        tokens: Tokens written in training.
        seconds: Of training.
    """
    gain = paired_gain(before, after)
    return {
        **figures_of(before, "before"),
        **figures_of(after, "after"),
        "reward_gain": gain.mean,
        "reward_gain_half_width": gain.half_width,
        "kl": after.kl,
        "eval_episodes": len(after.scores),
        "episodes": agent.n_episodes,
        "updates": agent.n_updates,
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "seed": agent.seed,
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "text_gym": text_gym.__version__},
    }


def figures_of(evaluation: Evaluation, when: str) -> dict[str, float]:
    """Returns the figures of one evaluation, as `FIGURE_WHEN`."""
    names = ("reward", "reward_half_width", "kl", "length", "perplexity", "distinct_2")
    return {f"{name}_{when}": getattr(evaluation, name) for name in (*names, "largest_share")}


def paired_replies(before: Evaluation, after: Evaluation) -> list[dict[str, Any]]:
    """Returns the replies to the same prompts before and after, with their scores."""
    rows = zip(
        before.prompts,
        before.completions,
        before.scores,
        after.completions,
        after.scores,
        strict=True,
    )
    names = ("prompt", "before", "score_before", "after", "score_after")
    return [dict(zip(names, row, strict=True)) for row in rows]
