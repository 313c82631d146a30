"""A whole fine-tuning run: load, judge, learn, judge again, write down.

This pipeline is where `text_gym` and the agents meet; the algorithm itself knows neither prompts
nor rewards.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from rich.console import Console
from transformers.utils import logging as transformers_logging

import text_gym
from agents.evaluation import Evaluation, evaluate
from agents.fine_tuning.console import ProgressBar, evaluations, key_values, replies
from agents.fine_tuning.environments import make_envs
from agents.fine_tuning.models import load_policy
from agents.fine_tuning.presets import FineTuning
from agents.fine_tuning.prompts import Split, load_prompts
from agents.fine_tuning.run_folder import RunFolder
from agents.policy import CausalLMPolicy
from agents.ppo import PPO
from text_gym import HuggingFaceTokenizer


def run(preset: str, config: FineTuning) -> Path:
    """Carries out a run and returns its folder.

    Raises:
        FileExistsError: If the run's folder exists.
    """
    console = Console()
    torch.set_num_threads(config.threads)
    transformers_logging.disable_progress_bar()
    folder = config.output / (config.name or _run_name(preset, config.ppo.seed))
    split = load_prompts(config.prompts, console)
    policy, tokenizer = load_policy(config)
    envs = make_envs(config, split.train, tokenizer, config.num_envs)
    eval_envs = make_envs(config, split.heldout, tokenizer, config.eval_episodes)
    record = RunFolder(folder, config)
    console.print(key_values(f"PPO: {preset}", _header(config, split, policy)))

    agent = PPO(policy, envs, config.ppo, callbacks=[record, ProgressBar(console)])
    before = _judged(agent, eval_envs, config)
    start = time.perf_counter()
    agent.learn(config.total_episodes)
    seconds = time.perf_counter() - start
    after = _judged(agent, eval_envs, config)

    agent.policy.save_pretrained(folder / "policy")
    if isinstance(tokenizer, HuggingFaceTokenizer):
        tokenizer.tokenizer.save_pretrained(folder / "policy")
    record.write_json("summary.json", _summary(before, after, agent, record.tokens, seconds))
    record.write_json("replies.json", _replies(before, after))
    console.print(replies(before, after), evaluations(before, after), sep="\n")
    console.print(
        f"{agent.n_episodes:,} episodes, {record.tokens:,} tokens in {seconds:.1f} s: "
        f"{record.tokens / seconds:,.0f} tokens/s. Written to {folder}/"
    )
    return folder


def _judged(agent: PPO, envs: VectorEnv[Any, Any, Any], config: FineTuning) -> Evaluation:
    seed = config.ppo.seed
    return evaluate(agent.policy, agent.reference, envs, config.eval_episodes, seed=seed)


def _run_name(preset: str, seed: int) -> str:
    return f"{preset}-seed{seed}-{time.strftime('%Y%m%d-%H%M%S')}"


def _header(config: FineTuning, split: Split, policy: CausalLMPolicy) -> dict[str, Any]:
    parameters = sum(parameter.numel() for parameter in policy.parameters())
    return {
        "model": f"{config.model} ({parameters / 1e6:.1f} M parameters)",
        "prompts": f"{len(split.train):,} from {config.prompts}; {len(split.heldout):,} held out",
        "reward": config.reward,
        "episodes": f"{config.total_episodes:,}, {config.ppo.n_episodes} per update",
    }


def _summary(
    before: Evaluation, after: Evaluation, agent: PPO, tokens: int, seconds: float
) -> dict[str, Any]:
    figures = ("reward", "reward_half_width", "length", "perplexity", "distinct_2", "largest_share")
    compared = {
        f"{name}_{when}": getattr(one, name)
        for name in figures
        for when, one in (("before", before), ("after", after))
    }
    return {
        **compared,
        "kl": after.kl,
        "eval_episodes": len(after.scores),
        "episodes": agent.n_episodes,
        "updates": agent.n_updates,
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "seed": agent.config.seed,
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "text_gym": text_gym.__version__},
    }


def _replies(before: Evaluation, after: Evaluation) -> list[dict[str, Any]]:
    rows = zip(
        before.prompts,
        before.completions,
        before.scores,
        after.completions,
        after.scores,
        strict=True,
    )
    names = ("prompt", "before", "score_before", "after", "score_after")
    return [dict(zip(names, row, strict=True)) for row in rows]
