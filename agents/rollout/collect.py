"""Collecting episodes: a policy writes texts in a vector environment.

The environment takes one token per row and step. Which episodes belong to a batch is decided when
they start, never by who finishes first, so short texts are not favoured. This module decides what
happens next; `buffer` writes it down and `decoding.decoder` computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv

from agents.policy import categorical
from agents.policy.action_masks import MaskTable
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.buffer import Observations, Rollout, RolloutBuffer
from agents.rollout.decoding.decoder import Decoder
from agents.rollout.fit import autoreset_mode, require_episodes
from agents.rollout.timer import Timer


def collect_rollout(
    policy: CausalLMPolicy,
    envs: VectorEnv[Any, Any, Any],
    n_episodes: int,
    generator: torch.Generator,
    *,
    seed: int | None = None,
    timer: Timer | None = None,
) -> Rollout:
    """Resets the environments and lets the policy write `n_episodes` texts.

    Args:
        policy: Chooses the tokens.
        envs: n environments, with autoreset mode DISABLED or SAME_STEP.
        n_episodes: B, at least n. The first n episodes start together; every row that ends starts
            another until B have started.
        generator: Of sampling.
        seed: Passed to the first reset; None goes on with the environments' random streams.
        timer: Learns how long the parts took: `environment`, `prefill` (reading prompts),
            `decode` (reading and choosing tokens; GPT-2 reads later prompts along with them).

    Raises:
        ValueError: If `n_episodes` is below n, the autoreset mode is NEXT_STEP, a mask allows
            nothing, the logits are not finite, or a final observation is not the prompt followed by
            the actions.
    """
    mode = autoreset_mode(envs)
    timer = timer or Timer()
    require_episodes(envs, n_episodes)
    with timer("environment"):
        observations, infos = envs.reset(seed=seed)
    masks = MaskTable(envs.num_envs)
    masks.update(infos)
    buffer = RolloutBuffer(n_episodes, observations["input_ids"].shape)
    prompts = buffer.begin(range(envs.num_envs), observations, infos)
    decoder = Decoder(policy, prompts, buffer.max_length, timer)
    actions = np.zeros(envs.num_envs, dtype=np.int64)

    while buffer.unfinished:
        with timer("decode"):
            allowed = masks.allowed(decoder.rows)
            logits = decoder.logits(None if allowed is None else allowed.to(policy.device))
            tokens, log_probs = categorical.sample(logits, generator)
            actions[decoder.rows] = tokens.numpy(force=True)
        with timer("environment"):
            observations, rewards, terminations, truncations, infos = envs.step(actions)
        buffer.append(decoder.rows, actions, rewards, log_probs, masks)
        continued = buffer.respond(observations, infos)
        ended = buffer.end(terminations, truncations, observations, infos)
        started = ended[: buffer.n_waiting]
        if started and mode is AutoresetMode.DISABLED:
            masks.update(infos, buffer.writing)
            with timer("environment"):
                observations, infos = reset_rows(envs, started)
        prompts = buffer.begin(started, observations, infos)
        masks.update(infos, buffer.writing)
        decoder.advance(tokens, ended, prompts, continued)
    return buffer.rollout(masks)


def reset_rows(
    envs: VectorEnv[Any, Any, Any], rows: Sequence[int]
) -> tuple[Observations, dict[str, Any]]:
    """Starts new episodes in some rows of environments with autoreset mode DISABLED."""
    mask = np.zeros(envs.num_envs, dtype=np.bool_)
    mask[list(rows)] = True
    return envs.reset(options={"reset_mask": mask})
