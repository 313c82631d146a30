"""The numbers that tell whether PPO is well: what each update logs.

Pure functions of what was collected and computed; all averages are over chosen tokens or over
episodes, never over padding. KL is in nats per completion unless the name says otherwise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from agents.objectives.kl import kl_estimate, sequence_kl
from agents.objectives.losses import explained_variance
from agents.objectives.masked import masked_mean, masked_sum, masked_var
from agents.policy.causal_lm import TokenStatistics
from agents.rollout.buffer import Rollout
from agents.rollout.timer import Stopwatch


def rollout_metrics(
    rollout: Rollout, old: TokenStatistics, ref_log_probs: Tensor, kl_coef: float
) -> dict[str, float]:
    """Describes a batch of episodes, under `rollout/`.

    Args:
        rollout: The episodes.
        old: What the policy that wrote them says about them, by the training forward.
        ref_log_probs: (B, T), the reference's.
        kl_coef: The price of KL in force.
    """
    mask = rollout.texts.completion_mask
    kl = sequence_kl(old.log_probs, ref_log_probs, mask)
    k3 = masked_sum(kl_estimate(old.log_probs, ref_log_probs, "k3"), mask, dim=1)
    sampling_error = (rollout.log_probs - old.log_probs).abs()
    metrics = {
        "kl_penalty_mean": kl_coef * kl.mean(),
        "penalised_score_mean": (rollout.scores - kl_coef * kl).mean(),
        "kl": kl.mean(),
        "kl_k3": k3.mean(),
        "kl_per_token": masked_mean(old.log_probs - ref_log_probs, mask),
        "entropy": masked_mean(old.entropies, mask),
        "value_mean": masked_mean(old.values, mask),
        "value_std": masked_var(old.values, mask).sqrt(),
        "sampling_log_prob_error": torch.where(mask, sampling_error, 0).max(),
    }
    named = {f"rollout/{name}": float(value) for name, value in metrics.items()}
    return score_metrics(rollout) | named


def score_metrics(rollout: Rollout) -> dict[str, float]:
    """Describes what was written and paid, whoever wrote it."""
    lengths = rollout.texts.lengths.float()
    metrics = {
        "score_mean": rollout.scores.mean(),
        "score_std": rollout.scores.std(correction=0),
        "score_min": rollout.scores.min(),
        "score_max": rollout.scores.max(),
        "length_mean": lengths.mean(),
        "length_max": lengths.max(),
        "truncated_fraction": rollout.truncated.float().mean(),
    }
    named = {f"rollout/{name}": float(value) for name, value in metrics.items()}
    return named | _reported(rollout.infos)


def _reported(infos: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Averages what the environment says of itself: stop reasons and reward components."""
    reasons = Counter(info["stop_reason"] for info in infos if "stop_reason" in info)
    terms: dict[str, list[float]] = defaultdict(list)
    for info in infos:
        for name, value in info.get("reward_components", {}).items():
            terms[name].append(float(value))
    fractions = {f"rollout/stop_{reason}": n / len(infos) for reason, n in sorted(reasons.items())}
    return fractions | {
        f"rollout/reward/{name}": sum(values) / len(infos) for name, values in terms.items()
    }


def advantage_metrics(
    advantages: Tensor, returns: Tensor, values: Tensor, mask: Tensor
) -> dict[str, float]:
    """Describes advantages before whitening, returns, and how well values predict them."""
    metrics = {
        "rollout/advantage_mean": masked_mean(advantages, mask),
        "rollout/advantage_std": masked_var(advantages, mask).sqrt(),
        "rollout/return_mean": masked_mean(returns, mask),
        "rollout/return_std": masked_var(returns, mask).sqrt(),
        "train/explained_variance": explained_variance(values, returns, mask),
    }
    return {name: float(value) for name, value in metrics.items()}


def timing_metrics(stopwatch: Stopwatch, n_tokens: int, n_episodes: int) -> dict[str, float]:
    """Splits an update's seconds, under `time/`.

    An update is `generate`, `score` and `train`. Of generating, `environment` is stepping and
    feedback, `prefill` reading prompts, `decode` reading and choosing tokens; of scoring, `judge`
    and `reference` are the log-probs and values of the two policies; of training, `forward`,
    `backward` and `optimizer` (clipping and exchange included) are the steps.
    """
    seconds = dict(stopwatch.seconds)
    total = seconds["generate"] + seconds["score"] + seconds["train"]
    return {f"time/{name}": value for name, value in seconds.items()} | {
        "time/total": total,
        "time/tokens_per_second": n_tokens / total,
        "time/episodes_per_second": n_episodes / total,
    }


def sum_of(statistics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Adds up what micro-batches report; names ending in `_max` and `_min` keep the extreme."""
    return _combined(statistics, sum)


def mean_of(statistics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Averages what optimiser steps report; names ending in `_max` and `_min` keep the extreme."""
    return _combined(statistics, fmean)


def _combined(
    statistics: Sequence[Mapping[str, float]], combine: Callable[[list[float]], float]
) -> dict[str, float]:
    collected: dict[str, list[float]] = defaultdict(list)
    for one in statistics:
        for name, value in one.items():
            collected[name].append(value)
    extremes = {"_max": max, "_min": min}
    return {name: extremes.get(name[-4:], combine)(values) for name, values in collected.items()}
