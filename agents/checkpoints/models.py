"""The models of a checkpoint, for whoever has nothing else: what an agent is built from.

Knows nothing of the state of a training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from agents.agent import Trained
from agents.checkpoints.description import policy_config
from agents.checkpoints.files import blaming, read_json
from agents.checkpoints.folder import require_whole
from agents.policy.causal_lm import CausalLMPolicy


class SavedModels(NamedTuple):
    """What an agent is built from.

    Attributes:
        config: The hyperparameters.
        policy: As it began, or merged; `restore` brings the parameters that learn.
        reference: What the KL is measured from; None where there is none.
    """

    config: Any
    policy: CausalLMPolicy
    reference: CausalLMPolicy | None


def save_models(folder: Path, policy: Trained, reference: CausalLMPolicy | None) -> None:
    """Writes folders that plain `transformers` reads into a checkpoint."""
    policy.save_pretrained(folder / "policy")
    if policy.options.lora_rank:
        policy.save_pretrained(folder / "base", merge=False)
    if reference is not None:
        reference.save_pretrained(folder / "reference")


def load_models(folder: Path, config_class: Callable[..., Any]) -> SavedModels:
    """Loads what an agent is built from, of a checkpoint that holds models.

    Args:
        folder: Of the checkpoint.
        config_class: Makes the agent's hyperparameters of what was saved of them.

    Raises:
        FileNotFoundError: If `folder` holds no checkpoint, or one without models.
        CheckpointError: If it is damaged, and which file is to blame.
    """
    require_whole(folder)
    if not (folder / "policy").is_dir():
        raise FileNotFoundError(
            f"path must be a checkpoint with models, as save writes it, got {folder}; build the "
            "agent as the run did and restore it from there"
        )
    description = read_json(folder, "agent.json", None)
    with blaming(folder, "agent.json", ValueError):
        config = config_class(**description["config"])
        options = policy_config(description["policy"])
    policy = CausalLMPolicy.from_pretrained(
        folder / ("base" if options.lora_rank else "policy"), options
    )
    if not (folder / "reference").is_dir():
        return SavedModels(config, policy, None)
    plain_options = dataclasses.replace(
        options, lora_rank=0, frozen_blocks=0, value_network="none", action_values=False
    )
    reference = CausalLMPolicy.from_pretrained(folder / "reference", plain_options)
    return SavedModels(config, policy, reference.requires_grad_(False))
