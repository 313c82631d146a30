"""From what was said to a reward model, in memory: `train_reward_model`.

As `python -m agents.reward_model train` does it, without files, checkpoints and held-out prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.applications.registry import MODELS
from agents.callbacks import Callback
from agents.policy.config import PolicyConfig
from agents.reward_models.examples import encode_feedback, rating_scale
from agents.reward_models.learner import RewardLearner
from agents.reward_models.network import RewardNetwork
from agents.reward_models.reading import Reader
from agents.reward_models.reward_model import RewardModel
from agents.supervised.pair_files import Preference, Rating

LONGEST = 512
"""Most tokens of a text for a model that reads any number."""


def load_network(
    model: str | Path, options: PolicyConfig | None = None, *, seed: int = 0
) -> tuple[RewardNetwork, PreTrainedTokenizerBase]:
    """Returns network and tokenizer of a pretrained model.

    Args:
        model: `small-talk`, `smollm2`, or a folder or hub id of a language model, an encoder or a
            reward model.
        options: How it computes and what of it learns.
        seed: Of what a classifier has that the model has not.

    Raises:
        FileNotFoundError: If the model must be fetched first; names the command.
        ValueError: If there is no such model.
    """
    source = MODELS[str(model)]() if str(model) in MODELS else model
    try:
        network = RewardNetwork.from_pretrained(source, options, seed=seed)
        return network, AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model must be one of {[*MODELS]}, or a folder or hub id of a model that transformers "
            f"makes a sequence classifier of, got {model}: {error}"
        ) from error


def reader_of(
    network: RewardNetwork,
    tokenizer: PreTrainedTokenizerBase,
    template: str,
    max_length: int | None = None,
) -> Reader:
    """Returns the reader of a network; `max_length` is at most what the network reads."""
    limits = [one for one in (max_length, network.max_length) if one is not None]
    return Reader(tokenizer, template, min(limits, default=LONGEST), network.is_causal)


def train_reward_model(
    rows: Sequence[Preference | Rating],
    config: RewardModelConfig | None = None,
    *,
    model: str | Path = "small-talk",
    options: PolicyConfig | None = None,
    template: str = "{prompt}\n",
    callbacks: Sequence[Callback] = (),
    device: torch.device | str = "cpu",
) -> RewardModel:
    """Trains a reward model on preferences, ratings or both.

    Args:
        rows: What was said, at least one.
        config: The hyperparameters.
        model: What it is made of; see `load_network`.
        options: How it computes and what of it learns.
        template: What it sees of a prompt.
        callbacks: Called after every optimiser step.
        device: Where it learns, and stays.

    Returns:
        The model; its rewards have mean 0 and variance 1 over the completions in `rows`.

    Raises:
        ValueError: If there are no rows, or nothing can be learnt from them.
        TrainingStopped: If a number is not what it must be.
    """
    config = config or RewardModelConfig()
    if not rows:
        raise ValueError("rows must hold at least one preference or rating, got none")
    network, tokenizer = load_network(model, options, seed=config.seed)
    reader = reader_of(network.to(device), tokenizer, template)
    examples = encode_feedback(rows, reader, rating_scale(rows))
    learner = RewardLearner(network, examples, config, callbacks=callbacks)
    return learner.learn().reward_model(reader)
