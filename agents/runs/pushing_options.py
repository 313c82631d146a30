"""What `python -m agents.push` can be asked.

A plain dataclass, without torch, so that the command line answers at once. `agents.runs.pushing`
does what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Pushing:
    """Uploads a model with its tokenizer and its card to the Hugging Face Hub.

    What somebody sees there is what the model's folder holds; look at its README.md first.
    """

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """The folder of a finished run, or of a model within it."""
    repo: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OWNER/NAME")]
    """Where to; it is made where it is missing."""
    private: bool = True
    """Whether a repository that is made is for its owner alone."""
