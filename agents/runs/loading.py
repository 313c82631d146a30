"""Loading all that a fine-tuning run needs, before anything of it is written.

Knows no folder, and nothing of what an agent did before.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from gymnasium.vector import VectorEnv
from transformers.utils import logging as transformers_logging

from agents.applications.fine_tuning import FineTuning
from agents.applications.split import Split
from agents.command_line.threads import number_of_threads
from agents.distributed import processes, sharding
from agents.monitoring.monitor import Monitor
from agents.runs.console import run_console
from agents.runs.environments import listed_prompts, load_responder, make_envs
from agents.runs.learners import LEARNERS, Learner
from agents.runs.models import load_policy
from agents.runs.monitoring import make_monitor
from agents.runs.profile import TimedReward
from agents.runs.prompts import load_prompts
from agents.runs.rewards import load_reward
from agents.runs.shared_evaluation import OwnRows
from agents.runs.start import Start


class Loaded(NamedTuple):
    """What a run needs and does not write."""

    threads: int
    split: Split
    start: Start
    tokenizer: Any
    reward: TimedReward | None
    envs: VectorEnv[Any, Any, Any]
    eval_envs: VectorEnv[Any, Any, Any]
    learner: Learner
    agent: Any
    monitor: Monitor | None


def load(config: FineTuning, device: torch.device) -> Loaded:
    """Loads what a run needs, onto a device.

    Raises:
        FileNotFoundError: If something must be fetched first.
        ValueError: If an option names nothing, or options do not go together.
    """
    threads = number_of_threads(config.threads)
    torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
    num_envs = processes.share_of(config.num_envs, "num_envs")
    rows = _eval_rows(config)
    quiet = run_console(quiet=not processes.is_main())
    split = load_prompts(config.prompts, quiet, config.eval_prompts)
    policy, tokenizer = load_policy(config)
    words = (tokenizer, policy.end_of_text_ids)
    learnt_from = split.own_share().train
    if config.env_id is not None:
        split = Split(listed_prompts(config, *words), ())
    start = Start.of(split, policy, config)
    policy.to(device)
    reward = None if config.reward is None else load_reward(config.reward, device)
    timed = None if reward is None else TimedReward(reward)
    responder = load_responder(config.responder, device)
    envs = make_envs(
        config,
        learnt_from,
        *words,
        num_envs,
        timed,
        responder=responder,
        group_size=getattr(config.algorithm, "group_size", 1),
        training=True,
    )
    prompts = split.eval_prompts
    eval_envs = OwnRows(
        make_envs(config, prompts, *words, len(rows), reward, responder=responder), rows.start
    )
    learner = LEARNERS[type(config.algorithm)]
    monitor = make_monitor(config, learner, eval_envs, device)
    agent = learner.build(policy, envs, eval_envs, config)
    return Loaded(threads, split, start, tokenizer, timed, envs, eval_envs, learner, agent, monitor)


def _eval_rows(config: FineTuning) -> range:
    """Returns which of the texts that are evaluated are this process's."""
    if config.policy.sharded:  # all processes take part in every forward pass of the reference
        sharding.require_several()
        processes.share_of(config.eval_episodes, "eval_episodes")
    return processes.rows_of(config.eval_episodes, "eval_episodes")
