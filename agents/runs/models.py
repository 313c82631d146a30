"""The policy and the tokenizer that a run names."""

from __future__ import annotations

import dataclasses
from typing import Any

from agents.applications.fine_tuning import FineTuning
from agents.applications.registry import MODELS, POLICIES
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.runs.environments import one_env
from text_gym import HuggingFaceTokenizer


def load_policy(config: FineTuning) -> tuple[CausalLMPolicy, Any]:
    """Returns the policy and tokenizer that a run's `model` option names.

    The tokenizer is None where the environment has its own.

    Raises:
        FileNotFoundError: If the model must be fetched first; names the command.
        ValueError: If the option names no causal language model, or there is no environment whose
            vocabulary an untrained one could have.
    """
    if config.model in POLICIES:
        seed, options = config.algorithm.seed, policy_options(config)
        return POLICIES[config.model](one_env(config), seed, options), None
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
        ValueError: If there is no causal language model, or an untrained one, which has no
            tokenizer.
    """
    if model in POLICIES:
        raise ValueError(
            f"model must be trained, got {model!r}, which each run makes anew for its environment: "
            "name the folder of a finished run"
        )
    source = MODELS[model]() if model in MODELS else model
    try:
        policy = CausalLMPolicy.from_pretrained(source, options)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model must be one of {[*MODELS]}, of agents.train also {[*POLICIES]}, or a folder, "
            f"hub id or GGUF file of a causal language model, got {model}: {error}"
        ) from error
    return policy, HuggingFaceTokenizer.from_pretrained(source, vocab_size=policy.vocab_size)


def policy_options(config: FineTuning) -> PolicyConfig:
    """Returns the policy's options, with the values that the algorithm learns.

    Those that it does not learn and that were asked for stay, for the learner to refuse.
    """
    algorithm, network = config.algorithm, config.policy.value_network
    if not algorithm.learns_values and network == "shared":  # as it is by default
        network = "none"
    action_values = config.policy.action_values or algorithm.learns_action_values
    return dataclasses.replace(config.policy, value_network=network, action_values=action_values)
