"""The numbers that tell whether learning is well: what each update logs.

Pure functions of what was collected and computed; all averages are over chosen tokens or over
episodes, never over padding. KL is in nats per completion unless the name says otherwise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, NamedTuple

from torch import Tensor

from agents.objectives.kl import kl_estimate, sequence_kl
from agents.objectives.masked import masked_mean, masked_sum, masked_var
from agents.objectives.statistics import RatioStatistics, explained_variance
from agents.policy.causal_lm import PolicyOutputs
from agents.rollout.buffer import Rollout
from agents.rollout.timer import Timer


def rollout_metrics(
    rollout: Rollout, old: PolicyOutputs, ref_log_probs: Tensor, kl_coef: float
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
    metrics = {
        "kl_penalty_mean": kl_coef * kl.mean(),
        "penalised_score_mean": (rollout.scores - kl_coef * kl).mean(),
        "kl": kl.mean(),
        "kl_k3": k3.mean(),
        "kl_per_token": masked_mean(old.log_probs - ref_log_probs, mask),
        "entropy": masked_mean(old.entropies, mask),
    }
    if old.values is not None:
        metrics["value_mean"] = masked_mean(old.values, mask)
        metrics["value_std"] = masked_var(old.values, mask).sqrt()
    named = {f"rollout/{name}": float(value) for name, value in metrics.items()}
    named["rollout/sampling_log_prob_error"] = rollout.sampling_error(old.log_probs)
    return score_metrics(rollout) | named


def writer_metrics(
    log_probs: Tensor, behaviour_log_probs: Tensor, mask: Tensor
) -> dict[str, float]:
    """Says how far a writer lies from the policy that it writes as, per token in nats.

    `rollout/writer_mismatch` is the mean |log π - log μ|, `rollout/writer_kl_per_token` the k3
    estimate of KL(μ ‖ π), μ being the writer.

    Args:
        log_probs: (B, T), of the policy, by the training forward.
        behaviour_log_probs: (B, T), of the writer, which sampled.
        mask: (B, T) bool, True = written.
    """
    kl = kl_estimate(behaviour_log_probs, log_probs, "k3")
    return {
        "rollout/writer_mismatch": float(
            masked_mean((log_probs - behaviour_log_probs).abs(), mask)
        ),
        "rollout/writer_kl_per_token": float(masked_mean(kl, mask)),
    }


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
    advantages: Tensor, returns: Tensor | None, values: Tensor | None, mask: Tensor
) -> dict[str, float]:
    """Describes advantages before normalisation, returns, and how well values predict them."""
    metrics = {
        "rollout/advantage_mean": masked_mean(advantages, mask),
        "rollout/advantage_std": masked_var(advantages, mask).sqrt(),
    }
    if returns is not None:
        metrics["rollout/return_mean"] = masked_mean(returns, mask)
        metrics["rollout/return_std"] = masked_var(returns, mask).sqrt()
    if returns is not None and values is not None:
        metrics["train/explained_variance"] = explained_variance(values, returns, mask)
    return {name: float(value) for name, value in metrics.items()}


def timing_metrics(timer: Timer, n_tokens: int, n_episodes: int) -> dict[str, float]:
    """Splits an update's seconds, under `time/`.

    An update is `generate`, `score` and `train`. Of generating, `environment` is stepping and
    feedback, `prefill` reading prompts, `decode` reading and choosing tokens; of scoring, `policy`
    and `reference` are the log-probs and values of the two policies; of training, `forward`,
    `backward` and `optimizer` (clipping and exchange included) are the steps.
    """
    seconds = dict(timer.seconds)
    total = seconds["generate"] + seconds["score"] + seconds["train"]
    return {f"time/{name}": value for name, value in seconds.items()} | {
        "time/total": total,
        "time/tokens_per_second": n_tokens / total,
        "time/episodes_per_second": n_episodes / total,
    }


class Statistic(NamedTuple):
    """One number of a micro-batch, and how those of an optimiser step become one.

    Attributes:
        value: The number.
        reduce: `"sum"`, where it is the micro-batch's share of the step's; or the extreme to keep.
    """

    value: float
    reduce: Literal["sum", "max", "min"] = "sum"


Statistics = dict[str, Statistic]


def movement_statistics(ratios: RatioStatistics, entropy: float, share: float) -> Statistics:
    """Describes how far the policy has moved on a micro-batch, whatever the loss is.

    Args:
        ratios: Of the micro-batch.
        entropy: Mean over its tokens.
        share: Tokens of the micro-batch over those of the step.
    """
    return {
        "entropy": Statistic(share * entropy),
        "approx_kl": Statistic(share * ratios.approx_kl.item()),
        "ratio_mean": Statistic(share * ratios.ratio_mean.item()),
        "ratio_var": Statistic(share * ratios.ratio_var.item()),
        "ratio_min": Statistic(ratios.ratio_min.item(), "min"),
        "ratio_max": Statistic(ratios.ratio_max.item(), "max"),
    }


def of_step(parts: Sequence[Statistics]) -> Statistics:
    """Combines what the micro-batches of an optimiser step report."""
    return {
        name: Statistic(_REDUCTIONS[first.reduce](part[name].value for part in parts), first.reduce)
        for name, first in parts[0].items()
    }


def ratio_error(statistics: Statistics) -> float:
    """Returns how far the ratios of a step lie from 1 at most."""
    return max(abs(statistics["ratio_max"].value - 1), abs(statistics["ratio_min"].value - 1))


def of_update(steps: Sequence[Statistics]) -> dict[str, float]:
    """Averages what the optimiser steps of an update report; extremes stay extremes."""
    return {
        name: (fmean if first.reduce == "sum" else _REDUCTIONS[first.reduce])(
            step[name].value for step in steps if name in step
        )
        for name, first in steps[0].items()
    }


_REDUCTIONS: Mapping[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}
