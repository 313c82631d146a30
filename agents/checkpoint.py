"""Saving an agent between updates, and going on from there.

A checkpoint is a folder: `policy/` and `reference/`, which plain `transformers` reads, `state.pt`
(optimiser and random streams; loaded with `weights_only`), and `agent.json` (config and counters).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from gymnasium.vector import VectorEnv

from agents.callbacks import Callback
from agents.config import PPOConfig
from agents.policy import CausalLMPolicy

if TYPE_CHECKING:
    from agents.ppo import PPO


def save(agent: PPO, folder: Path) -> None:
    """Writes a checkpoint; existing files of the same names are replaced."""
    agent.policy.save_pretrained(folder / "policy")
    agent.reference.save_pretrained(folder / "reference")
    torch.save(
        {
            "optimizer": agent.optimizer.state_dict(),
            "sampling": agent.sampling.get_state(),
            "shuffling": agent.shuffling.get_state(),
            "predicting": agent.predicting.get_state(),
        },
        folder / "state.pt",
    )
    description = {
        "config": dataclasses.asdict(agent.config),
        "temperature": agent.policy.temperature,
        "dtype": str(agent.policy.value_head.weight.dtype).removeprefix("torch."),
        "n_episodes": agent.n_episodes,
        "n_updates": agent.n_updates,
        "kl_controller": agent.kl_controller.state_dict(),
    }
    (folder / "agent.json").write_text(json.dumps(description, indent=2), encoding="utf-8")


def load(
    cls: type[PPO],
    folder: Path,
    envs: VectorEnv[Any, Any, Any],
    callbacks: Sequence[Callback],
) -> PPO:
    """Reads a checkpoint.

    Raises:
        FileNotFoundError: If `folder` holds no checkpoint.
    """
    description = json.loads((folder / "agent.json").read_text(encoding="utf-8"))
    policy, reference = (
        CausalLMPolicy.from_pretrained(
            folder / name,
            temperature=description["temperature"],
            dtype=getattr(torch, description["dtype"]),
        )
        for name in ("policy", "reference")
    )
    agent = cls(
        policy,
        envs,
        PPOConfig(**description["config"]),
        reference=reference.requires_grad_(False),
        callbacks=callbacks,
    )
    state = torch.load(folder / "state.pt", weights_only=True)
    agent.optimizer.load_state_dict(state["optimizer"])
    agent.sampling.set_state(state["sampling"])
    agent.shuffling.set_state(state["shuffling"])
    agent.predicting.set_state(state["predicting"])
    agent.kl_controller.load_state_dict(description["kl_controller"])
    agent.n_episodes = description["n_episodes"]
    agent.n_updates = description["n_updates"]
    return agent
