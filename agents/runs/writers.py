"""Which model a command names, and how it is asked to write.

A finished run stands for the policy that it ended with, which goes on writing as it learnt to.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from agents.algorithms.configs.names import OFFLINE_ALGORITHMS
from agents.runs.saved_config import is_run, read_config, read_learner, read_offline_config


class Manner(NamedTuple):
    """Holds how a model is asked to write."""

    prompt_template: str = "{prompt}\n"
    max_new_tokens: int = 32
    temperature: float = 1.0
    ban_unwanted: bool = False
    chat: bool = False
    responder: str | None = None
    response_template: str = "{response}"
    max_response_tokens: int | None = None
    max_turn_tokens: int | None = None
    max_turns: int | None = None
    constraint: str | None = None


def source_of(model: str) -> str:
    """Returns where the model of a name is found: of a finished run, its policy's folder.

    Raises:
        FileNotFoundError: If the run is not finished; says how to go on with it.
    """
    folder = Path(model)
    if not is_run(folder):
        return model
    if not os.path.isdir(folder / "policy"):
        raise FileNotFoundError(
            f"model must be a finished run, got {folder}, which has no policy yet: finish it "
            f"by python -m agents.resume {folder}"
        )
    return str(folder / "policy")


def manner_of(model: str) -> Manner:
    """Returns how the model of a name writes: as the run did, if it is one."""
    folder = Path(model)
    if not is_run(folder):
        return Manner()
    if read_learner(folder) in OFFLINE_ALGORITHMS:
        learnt = read_offline_config(folder).config
        return Manner(learnt.prompt_template, temperature=learnt.policy.temperature)
    tuned = read_config(folder).config
    own = {name: getattr(tuned, name) for name in Manner._fields if name != "temperature"}
    return Manner(**own, temperature=tuned.policy.temperature)
