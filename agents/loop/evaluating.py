"""How good a tuned model is beside the one that the loop began with: `evaluate_models`.

Both answer the same held-out prompts once, and every reward says something of the same texts. Knows
neither judgements nor rounds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from agents.applications.fine_tuning import FineTuning
from agents.evaluation.evaluate import evaluate
from agents.evaluation.metrics import Evaluation, paired_gains
from agents.evaluation.win_rates import win_rate
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.runs.console import run_console
from agents.runs.environments import load_responder, make_envs
from agents.runs.models import load_language_model
from agents.runs.prompts import load_prompts
from agents.runs.rewards import rescored
from agents.runs.writing_bar import writing_bar
from text_gym.rewards import RewardFunction


def evaluate_models(
    base: str, tuned: str, rewards: Mapping[str, RewardFunction], config: FineTuning
) -> dict[str, Any]:
    """Returns the figures of two models by several rewards, and what they wrote.

    Args:
        base: The model that both are held against, named as in `config.model`.
        tuned: The other.
        rewards: At least one; KL, length and the like are the same by all.
        config: Says prompts, how many texts, and how they are written.
    """
    quiet = run_console(quiet=True)
    prompts = load_prompts(config.prompts, quiet, config.eval_prompts).eval_prompts
    first = next(iter(rewards.values()))
    reference, tokenizer = load_language_model(base, _options(config))
    policy, _ = load_language_model(tuned, _options(config))

    def written(by: CausalLMPolicy) -> Evaluation:
        envs = make_envs(
            config,
            prompts,
            tokenizer,
            by.end_of_text_ids,
            config.eval_episodes,
            first,
            responder=load_responder(config.responder, by.device),
        )
        seed, kl_coef = config.algorithm.seed, config.algorithm.kl_coef
        n = config.eval_episodes
        with writing_bar(envs, n, "evaluating") as watched:
            return evaluate(by, reference, watched, n, seed=seed, kl_coef=kl_coef)

    before, after = written(reference), written(policy)
    verdicts = {
        name: verdict(_scored(before, reward), _scored(after, reward))
        for name, reward in rewards.items()
    }
    texts = zip(before.prompts, before.completions, after.completions, strict=True)
    replies = [dict(zip(("prompt", "base", "tuned"), row, strict=True)) for row in texts]
    return {**verdicts, "replies": replies}


def verdict(base: Evaluation, tuned: Evaluation) -> dict[str, Any]:
    """Returns the figures of two models by one reward, and how often the second one wins.

    Args:
        base: What the first one wrote.
        tuned: What the second one wrote, to the same prompts.
    """
    gain = paired_gains(base, tuned)["reward"]
    return {
        "win_rate": win_rate(tuned.scores, base.scores)._asdict(),
        "gain": gain._asdict(),
        "base": dict(base.figures),
        "tuned": dict(tuned.figures),
    }


def _scored(evaluation: Evaluation, reward: RewardFunction) -> Evaluation:
    """Returns an evaluation of the same texts by another reward."""
    return dataclasses.replace(evaluation, scores=rescored(reward, evaluation))


def _options(config: FineTuning) -> PolicyConfig:
    return dataclasses.replace(config.policy, value_network="none", lora_rank=0)
