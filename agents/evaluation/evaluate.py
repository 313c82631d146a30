"""Judging a policy: reward, KL, perplexity and variety of its texts.

An evaluation is a rollout that nobody learns from. Texts are read from the episodes that the
environment reports (`info["text_episode"]`), where it does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from agents.objectives.kl import sequence_kl
from agents.objectives.masked import masked_mean
from agents.policy.causal_lm import CausalLMPolicy, forward_in_chunks
from agents.rollout.buffer import Rollout
from agents.rollout.collect import collect_rollout, warn_of_unheeded_ends
from agents.rollout.decoding.probe import sampling_tolerance

_CHUNK = 64


@dataclass(frozen=True)
class Evaluation:
    """Says how good, how far from the reference, and how varied a policy's texts are.

    Attributes:
        reward: Mean over episodes.
        reward_half_width: Half of its 95 % confidence interval (normal approximation).
        kl: KL from the reference, in nats per completion.
        perplexity: Of the texts under the reference, per token.
        length: Mean number of tokens written.
        distinct_2: Distinct word pairs over all word pairs of the texts together.
        largest_share: Share of the most frequent text.
        prompts: The prompts, in the order in which the episodes started.
        completions: The texts written.
        scores: Their rewards.
    """

    reward: float
    reward_half_width: float
    kl: float
    perplexity: float
    length: float
    distinct_2: float
    largest_share: float
    prompts: list[str]
    completions: list[str]
    scores: list[float]


def evaluate(
    policy: CausalLMPolicy,
    reference: CausalLMPolicy,
    envs: VectorEnv[Any, Any, Any],
    n_episodes: int,
    *,
    seed: int,
) -> Evaluation:
    """Lets a policy write `n_episodes` texts and judges them.

    Args:
        policy: The policy to judge.
        reference: What KL and perplexity are measured against.
        envs: Environments that report `text_episode`; see `collect_rollout`.
        n_episodes: At least the number of environments.
        seed: Of prompts and sampling.

    Raises:
        KeyError: If the environments do not report `text_episode`.
        ValueError: If the policy does not decode as it is trained.
    """
    warn_of_unheeded_ends(policy, envs)
    generator = torch.Generator(policy.device).manual_seed(seed)
    rollout = collect_rollout(policy, envs, n_episodes, generator, seed=seed).to(policy.device)
    return describe(rollout, own_log_probs(policy, rollout), reference)


def own_log_probs(policy: CausalLMPolicy, rollout: Rollout) -> Tensor:
    """Returns the log-probs (B, T) that the policy which wrote a rollout trains with.

    Raises:
        ValueError: If the policy does not decode as it is trained.
    """
    log_probs = forward_in_chunks(policy, rollout.texts, _CHUNK).log_probs
    error, tolerance = rollout.sampling_error(log_probs), sampling_tolerance(policy.rounding)
    if not error <= tolerance:
        raise ValueError(
            "policy must be judged by the log-probs that it writes with, to within "
            f"{tolerance:.3g} nats, got a difference of {error:.3g} from "
            f"{type(policy.model).__name__}"
        )
    return log_probs


def describe(rollout: Rollout, log_probs: Tensor, reference: CausalLMPolicy) -> Evaluation:
    """Judges texts, whoever wrote them.

    Args:
        rollout: The texts, on the reference's device.
        log_probs: (B, T), under the policy that wrote them.
        reference: What KL and perplexity are measured against.

    Raises:
        KeyError: If the environments did not report `text_episode`.
    """
    mask = rollout.texts.completion_mask
    ref_log_probs = forward_in_chunks(reference, rollout.texts, _CHUNK).log_probs
    episodes = [info["text_episode"] for info in rollout.infos]
    completions = [episode.completion for episode in episodes]
    scores = rollout.scores
    return Evaluation(
        reward=float(scores.mean()),
        reward_half_width=1.96 * float(scores.std()) / math.sqrt(len(scores)),
        kl=float(sequence_kl(log_probs, ref_log_probs, mask).mean()),
        perplexity=math.exp(-float(masked_mean(ref_log_probs, mask))),
        length=float(rollout.texts.lengths.float().mean()),
        distinct_2=distinct_n(completions, 2),
        largest_share=max(Counter(completions).values()) / len(completions),
        prompts=[episode.prompt for episode in episodes],
        completions=completions,
        scores=scores.tolist(),
    )


class Gain(NamedTuple):
    """Holds how much better one policy's texts are than another's.

    Attributes:
        mean: Of the differences of reward, prompt by prompt.
        half_width: Half of its 95 % confidence interval (normal approximation).
    """

    mean: float
    half_width: float


def paired_gain(before: Evaluation, after: Evaluation) -> Gain:
    """Compares two policies on the same prompts, one text each.

    What a prompt makes easy or hard for both cancels in the difference, so that its interval is
    narrower than those of the two means.

    Raises:
        ValueError: If the prompts differ, or there are fewer than two.
    """
    if before.prompts != after.prompts or len(before.prompts) < 2:
        raise ValueError(
            "before and after must be of the same two prompts or more, got "
            f"{_first(before.prompts)}... and {_first(after.prompts)}..."
        )
    differences = torch.tensor(after.scores, dtype=torch.float64) - torch.tensor(before.scores)
    half_width = 1.96 * float(differences.std()) / math.sqrt(len(differences))
    return Gain(float(differences.mean()), half_width)


def _first(prompts: Sequence[str]) -> list[str]:
    return [prompt[:100] for prompt in prompts[:3]]


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Returns the share of distinct word n-grams among all those of the texts together.

    Words are split at white space and compared without case. 0 where no text has n words.

    Source: Li et al. 2016, "A diversity-promoting objective function for neural conversation
    models", arXiv:1510.03055.

    Example:
        >>> distinct_n(["so good", "so good", "so bad"], 2)
        0.6666666666666666
    """
    grams = [
        tuple(words[i : i + n])
        for words in (text.lower().split() for text in texts)
        for i in range(len(words) - n + 1)
    ]
    return len(set(grams)) / len(grams) if grams else 0.0
