"""The policy of a run that has not come to its end, as its last checkpoint has it.

One process does it, whatever the number that learn. Does not know how they learn.
"""

from __future__ import annotations

import os
from pathlib import Path

from transformers.utils import logging as transformers_logging

from agents.applications.fine_tuning import FineTuning
from agents.applications.registry import POLICIES
from agents.checkpoints.checkpoint import restore_policy
from agents.checkpoints.series import latest
from agents.runs.final_policies import save_model
from agents.runs.going_on import CHECKPOINTS
from agents.runs.models import load_policy
from agents.runs.owner import owned
from agents.runs.saved_config import read_config, read_unrun, trust_run
from agents.runs.start import require_model


def export(run: Path, to: Path, *, trust_code: bool = False) -> None:
    """Writes the policy of a run's last checkpoint into a folder, which transformers reads.

    Args:
        run: Its folder, which is nobody else's meanwhile: a run that goes on removes checkpoints.
        to: A new folder.
        trust_code: Whether to run the environment's code that its config names, where the model is
            an untrained one, whose vocabulary only that environment knows. No other code is run.

    Raises:
        FileNotFoundError: If `run` holds no run, or one without a checkpoint.
        FileExistsError: If there is something at `to`.
        NotADirectoryError: If `to` could only be within what is no folder.
        FolderInUse: If the run still goes on.
        CheckpointError: If none of its checkpoints can be used.
        ValueError: If its config was edited to what no run has, the model that it started from is
            not there any more, or there is code to trust and it is not, or the other way round.
    """
    config = _config(run, trust_code)
    _require_new(to)
    with owned(run):
        checkpoint = latest(run / CHECKPOINTS)
        if checkpoint is None:
            raise FileNotFoundError(f"run must be a folder with a checkpoint, got {run}")
        transformers_logging.disable_progress_bar()
        policy, tokenizer = load_policy(config)
        require_model(run, policy)
        restore_policy(policy, checkpoint)
    save_model(policy, tokenizer, to)


def _config(run: Path, trust_code: bool) -> FineTuning:
    """Reads what the run was; what it names is trusted only if some of it is to be run."""
    config = read_unrun(run).config
    if config.model in POLICIES and config.env_id is not None:  # `load_policy` makes one
        if trust_code:
            trust_run(run)
        return read_config(run).config
    if trust_code:
        raise ValueError(
            f"--trust-code must be left out beside --export, which runs no code that {run} names"
        )
    return config


def _require_new(to: Path) -> None:
    if os.path.lexists(to):
        raise FileExistsError(f"to must be a new folder, got {to}, which is there")
    nearest = next(one for one in to.absolute().parents if os.path.lexists(one))
    if not nearest.is_dir():
        raise NotADirectoryError(f"to must be within a folder, got {to}, and {nearest} is none")
