"""What a checkpoint holds of each process: its random streams and its environments.

Knows no files, and nothing that the processes share.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agents.agent import Resumable
from agents.checkpoints.env_state import get_env_state

FORM_OF_PROCESS = {"streams": {}, "envs": [{"layer": "", "state": None}]}
"""Of what `state_of_process` returns; see `require_form`."""


def state_of_process(agent: Resumable) -> dict[str, Any]:
    """Returns what belongs to this process alone."""
    streams = {
        name: base64.b64encode(stream.get_state().numpy().tobytes()).decode()
        for name, stream in agent.streams.items()
    }
    return {"streams": streams, "envs": get_env_state(agent.envs)}


def saved_streams(agent: Resumable, saved: Mapping[str, Any]) -> dict[str, Tensor]:
    """Returns the states that were saved of the random streams, which are not touched.

    Args:
        agent: Whose streams they are to be the states of.
        saved: What `state_of_process` said of them.

    Raises:
        LookupError: If one is missing.
        ValueError: If one has not the size that its stream has.
    """
    states = {}
    for name, stream in agent.streams.items():
        state = bytearray(base64.b64decode(saved[name], validate=True))
        size = stream.get_state().numel()
        if len(state) != size:
            raise ValueError(f"the stream {name} must have {size} bytes, got {len(state)}")
        states[name] = torch.frombuffer(state, dtype=torch.uint8)
    return states
