"""Evaluating a policy: it writes texts, and reward, policy and reference say something of each.

An evaluation is a rollout that nobody learns from. Texts are read from the episodes that the
environment reports (`info["text_episode"]`). Which figures are made of it is not known here.
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from agents.distributed.sharding import reshard
from agents.evaluation.metrics import Evaluation
from agents.objectives.kl import sequence_kl
from agents.objectives.masked import masked_sum
from agents.policy.causal_lm import CausalLMPolicy, forward_in_chunks
from agents.rollout.buffer import Rollout
from agents.rollout.collect import collect_rollout
from agents.rollout.decoding.probe import sampling_tolerance
from agents.rollout.fit import warn_of_unheeded_ends

_CHUNK = 64


def evaluate(
    policy: CausalLMPolicy,
    reference: CausalLMPolicy | None,
    envs: VectorEnv[Any, Any, Any],
    n_episodes: int,
    *,
    seed: int,
    kl_coef: float | None = None,
) -> Evaluation:
    """Lets a policy write `n_episodes` texts and evaluates them.

    Args:
        policy: The policy to evaluate.
        reference: What KL and perplexity are measured against; None: they are NaN.
        envs: Environments that report `text_episode`; see `collect_rollout`.
        n_episodes: At least the number of environments.
        seed: Of prompts and sampling.
        kl_coef: The price of a nat of KL in the objective; None: there is no objective.

    Raises:
        KeyError: If the environments do not report `text_episode`.
        ValueError: If the policy does not decode as it is trained.
    """
    warn_of_unheeded_ends(policy, envs)
    generator = torch.Generator(policy.device).manual_seed(seed)
    rollout = collect_rollout(policy, envs, n_episodes, generator, seed=seed).to(policy.device)
    log_probs = own_log_probs(policy, rollout)
    reshard(policy)
    return describe(rollout, log_probs, reference, kl_coef)


def own_log_probs(policy: CausalLMPolicy, rollout: Rollout) -> Tensor:
    """Returns the log-probs (B, T) that the policy which wrote a rollout trains with.

    Raises:
        ValueError: If the policy does not decode as it is trained.
    """
    log_probs = forward_in_chunks(policy, rollout.texts, _CHUNK).log_probs
    error, tolerance = rollout.sampling_error(log_probs), sampling_tolerance(policy.rounding)
    if not error <= tolerance:
        raise ValueError(
            "policy must be evaluated by the log-probs that it writes with, to within "
            f"{tolerance:.3g} nats, got a difference of {error:.3g} from "
            f"{type(policy.model).__name__}"
        )
    return log_probs


def describe(
    rollout: Rollout,
    log_probs: Tensor,
    reference: CausalLMPolicy | None,
    kl_coef: float | None = None,
) -> Evaluation:
    """Evaluates texts, whoever wrote them.

    Args:
        rollout: The texts, on the reference's device.
        log_probs: (B, T), under the policy that wrote them.
        reference: What KL and perplexity are measured against; None: they are NaN.
        kl_coef: The price of a nat of KL in the objective; None: there is no objective.

    Raises:
        KeyError: If the environments did not report `text_episode`.
    """
    mask = rollout.texts.completion_mask
    ref_log_probs = torch.full_like(log_probs, torch.nan)
    if reference is not None:
        ref_log_probs = forward_in_chunks(reference, rollout.texts, _CHUNK).log_probs
    episodes = [info["text_episode"] for info in rollout.infos]
    return Evaluation(
        prompts=[episode.prompt for episode in episodes],
        completions=[episode.completion for episode in episodes],
        references=[episode.reference for episode in episodes],
        scores=rollout.scores.tolist(),
        lengths=rollout.texts.lengths.tolist(),
        log_ratios=sequence_kl(log_probs, ref_log_probs, mask).tolist(),
        ref_log_probs=masked_sum(ref_log_probs, mask, dim=1).tolist(),
        kl_coef=kl_coef,
        episodes=episodes,
    )
