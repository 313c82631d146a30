"""What `python -m agents.compare` can be asked.

A plain dataclass, without torch, so that the command line answers at once. `agents.runs.comparing`
does what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Comparing:
    """Tabulates runs and draws their curves over one another, from the files that they wrote."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]
    """Folders of runs, finished or not."""
    output: Path = Path("runs/comparison")
    """Folder of the page and of its figures as JSON, which are replaced."""
