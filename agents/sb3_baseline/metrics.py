"""What Stable-Baselines3's PPO logs, in the names and units of our own PPO's metrics.

`agents.algorithms.diagnostics` has the names; what SB3 does not compute is left out, and so is KL
from a reference where there is none. Knows neither texts nor when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from agents.algorithms.diagnostics import advantage_metrics, score_metrics
from agents.objectives.kl import kl_estimate, sequence_kl
from agents.objectives.masked import masked_mean, masked_sum
from agents.rollout.buffer import Rollout


def collected_metrics(rollout: Rollout, ref_log_probs: Tensor | None) -> dict[str, float]:
    """Describes the texts that ended, under `rollout/`.

    The policy's log-probs are those at sampling: SB3 has no others.

    Args:
        rollout: The texts, of length T at most.
        ref_log_probs: (B, T), the reference's; None leaves KL out.
    """
    metrics = score_metrics(rollout)
    if ref_log_probs is None:
        return metrics
    mask = rollout.texts.completion_mask
    k3 = masked_sum(kl_estimate(rollout.log_probs, ref_log_probs, "k3"), mask, dim=1)
    kl = {
        "kl": sequence_kl(rollout.log_probs, ref_log_probs, mask).mean(),
        "kl_k3": k3.mean(),
        "kl_per_token": masked_mean(rollout.log_probs - ref_log_probs, mask),
    }
    return metrics | {f"rollout/{name}": float(value) for name, value in kl.items()}


def buffer_metrics(buffer: RolloutBuffer) -> dict[str, float]:
    """Describes values, advantages and returns of all steps, those of unfinished texts included."""
    values, advantages, returns = (
        torch.as_tensor(array).flatten()
        for array in (buffer.values, buffer.advantages, buffer.returns)
    )
    everything = torch.ones_like(values, dtype=torch.bool)
    return {
        "rollout/value_mean": float(values.mean()),
        "rollout/value_std": float(values.std(correction=0)),
    } | advantage_metrics(advantages, returns, values, everything)


def update_metrics(logged: Mapping[str, Any], vf_coef: float, ent_coef: float) -> dict[str, float]:
    """Translates what SB3 recorded of an update, under `train/`.

    Policy loss, value loss, entropy and clip fraction are averages over all minibatches, as ours
    are; `approx_kl` is SB3's average over those of the last epoch only. The value loss is halved,
    to be the ½ (V - R)² that ours is. The loss is put together from these averages, where SB3 logs
    that of the last minibatch.

    Args:
        logged: SB3's logger, by name.
        vf_coef: Of our value loss: twice SB3's.
        ent_coef: As SB3's.
    """
    policy_loss, entropy = logged["train/policy_gradient_loss"], -logged["train/entropy_loss"]
    value_loss = logged["train/value_loss"] / 2
    metrics = {
        "loss": policy_loss + vf_coef * value_loss - ent_coef * entropy,
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "approx_kl": logged["train/approx_kl"],
        "clip_fraction": logged["train/clip_fraction"],
        "learning_rate": logged["train/learning_rate"],
    }
    return {f"train/{name}": float(value) for name, value in metrics.items()}
