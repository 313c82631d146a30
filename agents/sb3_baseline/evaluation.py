"""Letting one of Stable-Baselines3's policies write texts to be evaluated."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import obs_as_tensor

from agents.policy.action_masks import MaskTable
from agents.rollout.buffer import Rollout, RolloutBuffer


@torch.no_grad()
def write_texts(policy: ActorCriticPolicy, envs: VectorEnv[Any, Any, Any], seed: int) -> Rollout:
    """Lets the policy write one text in each of n environments, whose finished rows idle.

    The global random state, from which SB3 samples, is left as it was.

    Args:
        policy: SB3's.
        envs: n environments with autoreset mode DISABLED, without action masks.
        seed: Of prompts and sampling.
    """
    rows = range(envs.num_envs)
    observations, infos = envs.reset(seed=seed)
    free = MaskTable(envs.num_envs)
    buffer = RolloutBuffer(envs.num_envs, observations["input_ids"].shape)
    buffer.begin(rows, observations, infos)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        while buffer.unfinished:
            tokens, _, log_probs = policy(obs_as_tensor(observations, policy.device))
            actions = tokens.numpy(force=True).astype(np.int64)
            observations, rewards, terminations, truncations, infos = envs.step(actions)
            buffer.append(rows, actions, rewards, log_probs, free)
            buffer.end(terminations, truncations, observations, infos)
    return buffer.rollout(free)
