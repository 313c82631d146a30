"""The policy of a run that has not come to its end, as its last checkpoint has it.

One process does it, whatever the number that learn. Does not know how they learn.
"""

from __future__ import annotations

import os
from pathlib import Path

from transformers.utils import logging as transformers_logging

from agents.checkpoints.checkpoint import restore_policy
from agents.checkpoints.series import latest
from agents.runs.final_policies import save_model
from agents.runs.going_on import CHECKPOINTS
from agents.runs.models import load_policy
from agents.runs.saved_config import read_config
from agents.runs.start import require_model


def export(run: Path, to: Path) -> None:
    """Writes the policy of a run's last checkpoint into a folder, which transformers reads.

    Args:
        run: Its folder.
        to: A new folder.

    Raises:
        FileNotFoundError: If `run` holds no run, or one without a checkpoint.
        FileExistsError: If there is something at `to`.
        CheckpointError: If none of its checkpoints can be used.
        ValueError: If its config was edited to what no run has, or the model that it started from
            is not there any more.
    """
    _, config = read_config(run)
    if os.path.lexists(to):
        raise FileExistsError(f"--export must name a new folder, got {to}")
    checkpoint = latest(run / CHECKPOINTS)
    if checkpoint is None:
        raise FileNotFoundError(f"folder must be of a run with a checkpoint, got {run}")
    transformers_logging.disable_progress_bar()
    policy, tokenizer = load_policy(config)
    require_model(run, policy)
    restore_policy(policy, checkpoint)
    save_model(policy, tokenizer, to)
