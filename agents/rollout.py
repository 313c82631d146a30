"""Collecting episodes: a policy writes texts in a vector environment.

The environment takes one token per row and step. Which episodes belong to a batch is decided when
they start, never by who finishes first, so short texts are not favoured. This module decides what
happens next; `agents.record` writes it down and `agents.decoding` computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from agents import categorical
from agents.action_masks import MaskTable
from agents.decoding import Decoder
from agents.policy import CausalLMPolicy
from agents.record import EpisodeRecord, Observations, Rollout
from agents.stopwatch import Stopwatch


def collect_rollout(
    policy: CausalLMPolicy,
    envs: VectorEnv[Any, Any, Any],
    n_episodes: int,
    generator: torch.Generator,
    *,
    seed: int | None = None,
    stopwatch: Stopwatch | None = None,
) -> Rollout:
    """Resets the environments and lets the policy write `n_episodes` texts.

    Args:
        policy: Chooses the tokens.
        envs: n environments, with autoreset mode DISABLED or SAME_STEP.
        n_episodes: B, at least n. The first n episodes start together; every row that ends starts
            another until B have started.
        generator: Of sampling.
        seed: Passed to the first reset; None goes on with the environments' random streams.
        stopwatch: Learns how long the environments took, under `environment`.

    Raises:
        ValueError: If `n_episodes` is below n, the autoreset mode is NEXT_STEP, or a final
            observation is not the prompt followed by the actions.
    """
    mode = autoreset_mode(envs)
    stopwatch = stopwatch or Stopwatch()
    if n_episodes < envs.num_envs:
        raise ValueError(
            f"n_episodes must be at least the number of environments, {envs.num_envs}, "
            f"got {n_episodes}"
        )
    observations, infos = envs.reset(seed=seed)
    masks = MaskTable(envs.num_envs) if "action_mask" in infos else None
    _update(masks, infos)
    record = EpisodeRecord(n_episodes, observations["input_ids"].shape)
    prompts = record.begin(range(envs.num_envs), observations)
    decoder = Decoder(policy, prompts, record.max_length)
    actions = np.zeros(envs.num_envs, dtype=np.int64)

    while record.unfinished:
        logits = decoder.logits(
            None if masks is None else masks.allowed(decoder.rows).to(policy.device)
        )
        tokens, log_probs = categorical.sample(logits, generator)
        actions[decoder.rows] = tokens.numpy(force=True)
        with stopwatch("environment"):
            observations, rewards, terminations, truncations, infos = envs.step(actions)
        record.append(decoder.rows, actions, rewards, log_probs, masks)
        ended = record.end(terminations, truncations, observations, infos)
        _update(masks, infos)
        started = ended[: record.n_waiting]
        if started and mode is AutoresetMode.DISABLED:
            observations, infos = _reset(envs, started)
            _update(masks, infos)
        decoder.advance(tokens, ended, record.begin(started, observations))
    return record.rollout(masks)


def autoreset_mode(envs: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Returns the environments' autoreset mode.

    Raises:
        ValueError: If it is NEXT_STEP, whose reset steps would enter the batch as if they were
            decisions, or unknown; or if a finished row cannot idle under DISABLED.
    """
    mode = envs.metadata.get("autoreset_mode")
    if mode is AutoresetMode.DISABLED and isinstance(
        envs.unwrapped, SyncVectorEnv | AsyncVectorEnv
    ):
        raise ValueError(
            "envs must let a finished row idle under DISABLED, which Gymnasium's own vector "
            f"environments do not; give {type(envs.unwrapped).__name__} autoreset mode SAME_STEP"
        )
    if mode not in (AutoresetMode.DISABLED, AutoresetMode.SAME_STEP):
        raise ValueError(f"envs must have autoreset mode DISABLED or SAME_STEP, got {mode}")
    return AutoresetMode(mode)


def _reset(
    envs: VectorEnv[Any, Any, Any], rows: Sequence[int]
) -> tuple[Observations, dict[str, Any]]:
    mask = np.zeros(envs.num_envs, dtype=np.bool_)
    mask[list(rows)] = True
    return envs.reset(options={"reset_mask": mask})


def _update(masks: MaskTable | None, infos: dict[str, Any]) -> None:
    if masks is not None:
        masks.update(infos)
