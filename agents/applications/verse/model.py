"""Where the language model of verse is: in the cache folder, once it was made."""

from __future__ import annotations

from pathlib import Path

from agents.fetching.items import SHAKESPEARE

LINES, POEMS, OWN = "lines", "poems", "own"
"""Folders of the model that has read verse as it stands, then poems, then its own under masks."""

_RECIPE = 2
"""Part of the folder's name: to be raised with any change of what is trained, and how."""


def model_folder() -> Path:
    """Returns the folder that the models are in, there or not."""
    plays = SHAKESPEARE.folder
    return plays.with_name(f"{plays.name}-verse-{_RECIPE}")


def require(stage: str) -> Path:
    """Returns the folder of a model.

    Raises:
        FileNotFoundError: If it is not there; names the command that makes it.
    """
    model = model_folder() / stage
    if not (model / "README.md").is_file():  # what is written last
        raise FileNotFoundError(
            f"the model of verse is not in the cache ({model}): make it once with `python -m "
            "agents.pretrain --corpus verse`, after `python -m agents.fetch shakespeare`"
        )
    return model
