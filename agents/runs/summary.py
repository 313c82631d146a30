"""What a run says of itself: a header, its figures, the same prompts' replies before and after."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

import text_gym
from agents.agent import Agent
from agents.applications.fine_tuning import FineTuning
from agents.applications.split import Split
from agents.evaluation.metrics import Evaluation, not_measured, paired_gains


def run_name(preset: str, seed: int) -> str:
    """Returns a name for a run's folder that no run has which was started in another second."""
    return f"{preset}-seed{seed}-{time.strftime('%Y%m%d-%H%M%S')}"


def header(config: FineTuning, split: Split, policy: nn.Module) -> dict[str, Any]:
    """Returns what a person wants to know before the run."""
    return {
        "model": f"{config.model} ({n_parameters(policy) / 1e6:.1f} M parameters)",
        **_task(config, split),
        "episodes": f"{config.total_episodes:,}, {config.algorithm.n_episodes} per update",
        "threads": torch.get_num_threads(),
    }


def _task(config: FineTuning, split: Split) -> dict[str, str]:
    """Returns what is written about, and for what reward."""
    if config.env_id is not None:
        said = {"environment": f"{config.env_id} {config.env_args}", "reward": config.reward}
    else:
        n = f"{len(split.train):,} from {config.prompts}; {len(split.heldout):,} held out"
        said = {"prompts": n, "reward": config.reward}
    said["wrappers"] = config.wrappers
    return {name: value for name, value in said.items() if value is not None}


def n_parameters(model: nn.Module) -> int:
    """Returns how many parameters a model has."""
    return sum(parameter.numel() for parameter in model.parameters())


def summary(
    evaluated: Mapping[str, Evaluation], agent: Agent, tokens: int, seconds: float
) -> dict[str, Any]:
    """Returns the figures of each policy, and what the training between them took.

    Args:
        evaluated: The policies that training started from and ended with, `before` and `after`, and
            any others.
        agent: What learnt.
        tokens: Tokens written in training.
        seconds: Of training.
    """
    after = evaluated["after"]
    return {
        **figures_of({when: one.figures for when, one in evaluated.items()}),
        **not_measured(evaluated.values()),
        **{
            f"{name}_gain{part}": value
            for name, gain in paired_gains(evaluated["before"], after).items()
            for part, value in (("", gain.mean), ("_half_width", gain.half_width))
        },
        "kl": after.figures["kl"],
        "eval_episodes": len(after.scores),
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        **circumstances(agent, seconds),
    }


def circumstances(agent: Agent, seconds: float) -> dict[str, Any]:
    """Returns how far training went, and on what: whatever was learnt."""
    return {
        "episodes": agent.n_episodes,
        "updates": agent.n_updates,
        "seconds": seconds,
        "seed": agent.seed,
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "text_gym": text_gym.__version__},
    }


def figures_of(evaluated: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Returns the figures of several evaluations, as `FIGURE_WHEN`."""
    return {
        f"{name}_{when}": value
        for when, figures in evaluated.items()
        for name, value in figures.items()
    }


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
