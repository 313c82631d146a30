"""What a checkpoint says of an agent that all processes share, and whether an agent fits that.

Config, options of the policy, counters, and what the numbers depend on besides. Knows neither files
nor what is done with an agent that fits.
"""

from __future__ import annotations

import dataclasses
import platform
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers

from agents.agent import Resumable, Trained
from agents.checkpoints.callback_states import FORM_OF_CALLBACKS, states_of_callbacks
from agents.checkpoints.plain_values import plain
from agents.distributed import processes
from agents.policy.config import PolicyConfig

_EARLIER: Mapping[str, Mapping[str, Any]] = {"config": {}, "policy": {"sharded": False}}
"""What the first checkpoints did not say, and what is true of them."""


def describe(agent: Resumable, optimizer: Sequence[str]) -> dict[str, Any]:
    """Returns what `agent.json` holds.

    Args:
        agent: Between updates.
        optimizer: Names of the tensors of its optimiser's state.

    Raises:
        ValueError: If a state is of values that JSON would not give back.
    """
    return {
        "config": dataclasses.asdict(agent.config),
        "policy": _policy_options(agent.policy),
        "learning_rates": [group["lr"] for group in agent.optimizer.param_groups],
        "optimizer": optimizer,
        "state": plain(agent.state_dict(), "state"),
        "callbacks": states_of_callbacks(agent.callbacks),
        "made_with": _made_with(agent),
    }


def form_of(agent: Resumable) -> dict[str, Any]:
    """Returns what the description of an agent that was built so looks like."""
    return {
        "config": {},
        "policy": {},
        "learning_rates": [0.0],
        "optimizer": [""],
        "state": plain(agent.state_dict(), "state"),
        "callbacks": FORM_OF_CALLBACKS,
        "made_with": _made_with(agent),
    }


def require_same(agent: Resumable, description: Mapping[str, Any]) -> None:
    """Refuses what cannot go on; warns of what goes on, but not bit for bit.

    Raises:
        ValueError: If config or policy are not those of the checkpoint, or the processes not as
            many.
    """
    own = {"config": dataclasses.asdict(agent.config), "policy": _policy_options(agent.policy)}
    for part, values in own.items():
        saved = _EARLIER[part] | description[part]
        for name, value in plain(values, part).items():
            if value != saved.get(name):
                raise ValueError(
                    f"{part} must be that of the checkpoint, but {name} is {value!r} where "
                    f"{saved.get(name)!r} was saved"
                )
    now, then = _made_with(agent), description["made_with"]
    if now["processes"] != then["processes"]:
        raise ValueError(
            f"a checkpoint of {then['processes']} process(es) must be resumed by as many, got "
            f"{now['processes']}: it holds random streams and environments of each; the policy "
            "alone is had by `python -m agents.resume runs/NAME --export FOLDER`"
        )
    changes = [f"{name} {then[name]} -> {now[name]}" for name in now if now[name] != then[name]]
    if changes:
        warnings.warn(
            f"the checkpoint was made elsewhere ({', '.join(changes)}); training goes on, but not "
            "bit for bit as it would have there",
            stacklevel=4,
        )


def policy_config(saved: Mapping[str, Any]) -> PolicyConfig:
    """Returns the options of the policy that a description names."""
    return PolicyConfig(**{**saved, "lora_targets": tuple(saved["lora_targets"])})


def _made_with(agent: Resumable) -> dict[str, Any]:
    """Returns what the exact numbers depend on besides seed, config and code."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": platform.machine(),
        "device": agent.policy.device.type,
        "threads": torch.get_num_threads(),
        "processes": processes.world_size(),
    }


def _policy_options(policy: Trained) -> dict[str, Any]:
    """Returns the policy's options, with the dtype that its parameters have now."""
    dtype = str(policy.head.weight.dtype).removeprefix("torch.")
    return {**dataclasses.asdict(policy.options), "dtype": dtype}
