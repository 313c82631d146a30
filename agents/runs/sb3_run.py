"""A whole run of the Stable-Baselines3 baseline: as `pipeline`, with SB3's PPO in the middle.

The run folder is the same, so that its curves can be put beside ours. What it does not hold: a
model for `transformers`, and checkpoints. `policy.zip` is what `stable_baselines3.PPO.load` reads.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from transformers.utils import logging as transformers_logging

from agents.algorithms.configs.sb3_ppo import SB3PPOConfig
from agents.applications.fine_tuning import FineTuning
from agents.command_line.threads import number_of_threads
from agents.evaluation.evaluate import Evaluation, describe, evaluate
from agents.policy.causal_lm import CausalLMPolicy
from agents.runs.console import (
    ProgressBar,
    evaluations,
    key_values,
    printable,
    replies,
    run_console,
)
from agents.runs.environments import make_envs, make_reward
from agents.runs.models import load_policy
from agents.runs.owner import new_folder
from agents.runs.prompts import load_prompts
from agents.runs.run_folder import RunFolder
from agents.runs.saved_config import anchored, described
from agents.runs.summary import header, paired_replies, run_name, summary
from agents.sb3_baseline.agent import SB3PPO
from agents.sb3_baseline.evaluation import write_texts
from agents.sb3_baseline.hyperparameters import sb3_arguments


def run(preset: str, config: FineTuning) -> Path:
    """Carries out a run and returns its folder.

    Raises:
        FileExistsError: If the run's folder exists.
        ValueError: If the run asks for what SB3's PPO cannot do.
    """
    algorithm = config.algorithm
    assert isinstance(algorithm, SB3PPOConfig)
    console = run_console()
    threads = number_of_threads(config.threads)
    torch.set_num_threads(threads)
    config = replace(config, threads=threads)
    transformers_logging.disable_progress_bar()
    sb3_arguments(algorithm)  # refuses what it must before anything is loaded
    config = anchored(config)
    split = load_prompts(config.prompts, console)
    start, tokenizer = load_policy(config)
    reward = make_reward(config)
    words = (tokenizer, start.end_of_text_ids)
    envs = make_envs(config, split.train, *words, config.num_envs, reward)
    eval_envs = make_envs(config, split.judged, *words, config.eval_episodes, reward)

    reference = start.frozen_copy()
    before = evaluate(start, reference, eval_envs, config.eval_episodes, seed=algorithm.seed)
    agent = SB3PPO(
        algorithm.network,
        start,
        envs,
        algorithm,
        mean_length=before.length,
        reference=reference,
    )
    with new_folder(config.output, config.name, run_name(preset, algorithm.seed)) as folder:
        record = RunFolder.created(folder, described(preset, config))
        progress = ProgressBar(console)
        agent.callbacks += [record, progress]
        title = f"Stable-Baselines3's PPO: {preset}"
        console.print(key_values(title, header(config, split, agent.model.policy)))

        with closing(record), closing(progress):
            agent.learn(config.total_episodes)
        after = _judged(agent, reference, eval_envs)

        agent.save(folder / "policy")
        figures = summary(before, after, agent, record.tokens, record.seconds)
        figures["heldout_prompts"] = len(split.heldout)
        record.write_json("replies.json", paired_replies(before, after))
        record.write_json("summary.json", figures)
    compared = evaluations(before, after, split.judged_as)
    console.print(replies(before, after, width=console.width), compared, sep="\n")
    console.print(
        f"{agent.n_episodes:,} episodes, {record.tokens:,} tokens in {record.seconds:.1f} s: "
        f"{record.tokens / record.seconds:,.0f} tokens/s. Written to {printable(str(folder))}/"
    )
    return folder


def _judged(agent: SB3PPO, reference: CausalLMPolicy, envs: VectorEnv[Any, Any, Any]) -> Evaluation:
    rollout = write_texts(agent.model.policy, envs, agent.config.seed).to(reference.device)
    return describe(rollout, rollout.log_probs, reference)
