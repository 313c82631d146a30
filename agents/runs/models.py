"""The policy and the tokenizer that a run names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import text_gym
from agents.applications.toy import toy_policy
from agents.fetching.items import SMOLLM2, require
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.runs.presets import FineTuning
from text_gym import HuggingFaceTokenizer

SMALL_TALK_MODEL = Path(__file__).parents[1] / "models" / "small_talk"
TOY_EOS_PROBABILITY = 0.2


def load_policy(config: FineTuning) -> tuple[CausalLMPolicy, Any]:
    """Returns the policy and tokenizer that a run's `model` option names.

    For the toy the tokenizer is None: `TextGen-v0` has its own.

    Raises:
        FileNotFoundError: If the model must be fetched first; names the command.
        ValueError: If the option names no causal language model.
    """
    if config.model == "toy":
        env = text_gym.TextGenEnv(max_new_tokens=config.max_new_tokens)
        toy = toy_policy(
            env.tokenizer.vocab_size,
            env.tokenizer.eos_token_id,
            length=env.task.max_length,
            eos_probability=TOY_EOS_PROBABILITY,
            seed=config.algorithm.seed,
        )
        return CausalLMPolicy(toy.model, policy_options(config)), None
    return load_language_model(config.model, policy_options(config))


def load_language_model(
    model: str, options: PolicyConfig
) -> tuple[CausalLMPolicy, HuggingFaceTokenizer]:
    """Returns the policy and tokenizer of a pretrained model.

    Args:
        model: `small-talk`, `smollm2`, or a folder, hub id or GGUF file.
        options: How it becomes a policy.

    Raises:
        FileNotFoundError: If the model must be fetched first; names the command.
        ValueError: If there is no causal language model.
    """
    source = _source(model)
    try:
        policy = CausalLMPolicy.from_pretrained(source, options)
    except (OSError, ValueError) as error:
        raise ValueError(
            "model must be `small-talk`, `smollm2`, `toy`, or a folder, hub id or GGUF file of a "
            f"causal language model, got {model}: {error}"
        ) from error
    return policy, HuggingFaceTokenizer.from_pretrained(source, vocab_size=policy.vocab_size)


def policy_options(config: FineTuning) -> PolicyConfig:
    """Returns the policy's options, with the values that the algorithm learns, and no others."""
    algorithm, network = config.algorithm, config.policy.value_network
    if not algorithm.learns_values and network == "shared":  # as it is by default
        network = "none"
    return dataclasses.replace(
        config.policy, value_network=network, action_values=algorithm.learns_action_values
    )


def _source(model: str) -> str | Path:
    if model == "small-talk":
        return SMALL_TALK_MODEL
    return require(SMOLLM2) if model == SMOLLM2.name else model
